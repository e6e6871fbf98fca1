import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ImageSummary } from '../../helper/protocol/index.ts';
import { importTar as sendTar } from './support/archives.ts';
import { distFile } from './support/helperProcess.ts';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();

const importTar = (bytes: Buffer, reference: string): Promise<ImageSummary> => sendTar(context.strata.connection, bytes, reference);

describe('the embedded image', () => {
  it('is there without a registry', async () => {
    const { images } = await context.strata.connection.request('image.list', {});
    expect(images).toEqual([expect.objectContaining({ references: ['busybox:latest'], os: 'linux', layerCount: 1 })]);
    expect(await context.strata.sh('ls -ld /root /tmp | cut -c1-10; which vi wget awk; busybox | head -1')).toMatch(
      /^drwx------\ndrwxrwxrwt\n.*vi\n.*wget\n.*awk\nBusyBox v/,
    );
  });
});

describe('import', () => {
  it.each([
    ['plain', (tar: Buffer) => tar],
    ['gzip', (tar: Buffer) => execFileSync('gzip', ['-c'], { input: tar, maxBuffer: 1e8 })],
    ['zstd', (tar: Buffer) => execFileSync('zstd', ['-c', '-q'], { input: tar, maxBuffer: 1e8 })],
    ['xz', (tar: Buffer) => execFileSync('xz', ['-c', '-1'], { input: tar, maxBuffer: 1e8 })],
  ])('takes a rootfs tar (%s), always as the same layer', async (_name, compress) => {
    const image = await importTar(compress(fs.readFileSync(distFile('images/busybox.tar'))), 'mine:1');
    const { connection } = context.strata;
    const busybox = await connection.request('image.inspect', { image: 'busybox' });
    expect((await connection.request('image.inspect', { image: image.id })).config.rootfs).toEqual(busybox.config.rootfs);
    expect(await context.strata.sh('echo in mine', { image: 'mine:1' })).toBe('in mine\n');
    await connection.request('image.remove', { image: 'mine:1' });
  });

  it('takes a rootfs directory with owners, modes, links and capabilities', async () => {
    const { strata } = context;
    const rootfs = `${strata.place.directory}/rootfs`;
    fs.mkdirSync(rootfs);
    execFileSync('tar', ['-xf', distFile('images/busybox.tar'), '-C', rootfs]);
    fs.writeFileSync(`${rootfs}/owned`, 'x');
    fs.chownSync(`${rootfs}/owned`, 12, 34);
    fs.chmodSync(`${rootfs}/owned`, 0o4751);
    fs.linkSync(`${rootfs}/owned`, `${rootfs}/hard`);
    execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', `${rootfs}/owned`]);
    await strata.connection.request('image.import', { source: { kind: 'directory', path: rootfs }, reference: 'dir' });
    expect(await strata.sh('stat -c "%u %g %a %h" /owned', { image: 'dir' })).toBe('12 34 4751 2\n');
    await strata.connection.request('image.remove', { image: 'dir:latest' });
  });

  it('keeps the holes of a directory, and ends with its client', async () => {
    const { strata } = context;
    const { place } = strata;
    const rootfs = `${place.directory}/holes`;
    fs.mkdirSync(rootfs);
    fs.writeFileSync(`${rootfs}/lastlog`, 'first');
    fs.truncateSync(`${rootfs}/lastlog`, 2 ** 40);
    const directory = { kind: 'directory', path: rootfs } as const;
    const { image } = await strata.connection.request('image.import', { source: directory, reference: 'holes' });
    expect(image.sizeBytes).toBe(2 ** 40);
    await strata.connection.request('image.remove', { image: 'holes:latest' });

    // Its holes are too small to be kept: 2 GiB to write of 128 MiB.
    const sizeBytes = 2 ** 31;
    const file = fs.openSync(`${rootfs}/porous`, 'w');
    for (let at = 0; at < sizeBytes; at += 2 ** 16) fs.writeSync(file, 'x', at);
    fs.closeSync(file);
    const spool = (): number => {
      const [name] = fs.readdirSync(`${place.root}/tmp`).filter((entry) => entry.startsWith('spool-'));
      return name === undefined ? 0 : fs.statSync(`${place.root}/tmp/${name}`).size;
    };
    const client = await strata.helper.connect();
    const lost = failure(client.request('image.import', { source: directory, reference: 'lost' }));
    await until(() => spool() > 0, 'the import to begin');
    client.close();
    expect((await lost).code).toBe('CONNECTION_CLOSED');
    let most = 0;
    await until(() => {
      const now = spool();
      most = Math.max(most, now);
      return now === 0;
    }, 'the import to end');
    expect(most).toBeLessThan(sizeBytes / 2);
    fs.rmSync(rootfs, { recursive: true });
  });

  it.each([
    ['cut off', (tar: Buffer) => tar.subarray(0, 700_000), 'ARCHIVE_CORRUPT'],
    ['no archive', () => Buffer.from('hello, world'.repeat(1000)), 'ARCHIVE_CORRUPT'],
  ])('refuses an archive that is %s, and leaves nothing', async (_name, spoil, code) => {
    const layers = `${context.strata.place.root}/layers`;
    const before = fs.readdirSync(layers);
    const error = await failure(importTar(spoil(fs.readFileSync(distFile('images/busybox.tar'))), 'bad'));
    expect(error.code).toBe(code);
    expect(fs.readdirSync(layers)).toEqual(before);
  });

  it('says that bzip2 is not supported, and how to go on', async () => {
    const packed = execFileSync('bzip2', ['-c'], { input: fs.readFileSync(distFile('images/busybox.tar')), maxBuffer: 1e8 });
    const error = await failure(importTar(packed, 'packed'));
    expect(error.code).toBe('ARCHIVE_UNSUPPORTED');
    expect(error.message).toMatch(/bzip2 -dc/);
    expect(error.message).not.toMatch(/Bad message|not supported by/i);
  });

  it.each([
    ['an OCI layout', ['oci-layout', 'index.json'], /OCI image layout/],
    ['what docker save writes', ['manifest.json', 'repositories'], /docker save/],
  ] as const)('refuses %s as a root file system', async (_name, files, message) => {
    const directory = fs.mkdtempSync(`${context.strata.place.directory}/saved-`);
    for (const file of files) fs.writeFileSync(`${directory}/${file}`, '{}');
    const layers = fs.readdirSync(`${context.strata.place.root}/layers`);
    const error = await failure(importTar(execFileSync('tar', ['-c', '-C', directory, '.']), 'saved'));
    expect(error).toMatchObject({ code: 'IMAGE_INVALID' });
    expect(error.message).toMatch(message);
    expect(fs.readdirSync(`${context.strata.place.root}/layers`)).toEqual(layers);
  });

  it('refuses an archive that climbs out', async () => {
    const { directory } = context.strata.place;
    fs.writeFileSync(`${directory}/evil`, 'evil');
    const tar = execFileSync('tar', ['-c', '-P', '-C', directory, '--transform', 's,^,../../../,', 'evil']);
    expect((await failure(importTar(tar, 'evil'))).code).toBe('ARCHIVE_UNSAFE');
  });
});

describe('remove', () => {
  it('refuses an image that a container uses', async () => {
    const { strata } = context;
    await strata.start({ name: 'user-of-it' });
    const error = await failure(strata.connection.request('image.remove', { image: 'busybox' }));
    expect(error.code).toBe('IMAGE_IN_USE');
    expect(error.message).toContain('user-of-it');
  });
});
