import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { containerIdSchema } from '../../helper/protocol/index.ts';
import { importTar } from './support/archives.ts';
import { distFile } from './support/helperProcess.ts';
import { makeOciLayout, withConfig } from './support/ociLayout.ts';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();
const image = 'probe';

/** The embedded image's files, test/fixtures/probe.c and attacker.c, and a link into /proc. */
beforeAll(async () => {
  const { strata } = context;
  const rootfs = path.join(strata.place.directory, 'probe');
  fs.mkdirSync(rootfs);
  execFileSync('tar', ['-xf', distFile('images/busybox.tar'), '-C', rootfs]);
  const source = path.resolve(import.meta.dirname, '../fixtures/probe.c');
  execFileSync('gcc', ['-static', '-O1', '-o', path.join(rootfs, 'probe'), source]);
  execFileSync('gcc', ['-static', '-O1', '-o', path.join(rootfs, 'attacker'), path.resolve(import.meta.dirname, '../fixtures/attacker.c')]);
  fs.symlinkSync('/proc', path.join(rootfs, 'innocent'));
  await strata.connection.request('image.import', { source: { kind: 'directory', path: rootfs }, reference: image });
});

const probe = (): string => path.join(context.strata.place.directory, 'probe', 'probe');

describe('a process of a container', () => {
  it('cannot fill the helper with its command line', async () => {
    const { strata } = context;
    const id = await strata.start({ image, command: ['/probe', 'long-command-line'] });
    await until(async () => (await strata.cli(['logs', id])).stdout.split('ready\n').length > 3, 'four processes');
    const before = peakBytes(strata.helper.pid);
    const { processes } = await strata.connection.request('container.processes', { container: id });
    expect(processes).toHaveLength(4);
    for (const { command } of processes) expect(command).toMatch(/^a{1,4096}$/);
    expect(peakBytes(strata.helper.pid) - before).toBeLessThan(64 * 1024 * 1024);
  });

  it('does not have the session keyring of the supervisor, by exec neither', async () => {
    const { strata } = context;
    const id = await strata.start({ image, seccomp: 'unconfined' });
    // The helper was started by this process, and the supervisor by the helper: all have one session keyring.
    const ours = execFileSync(probe(), ['keyring'], { encoding: 'utf8' });
    const inside = await strata.exec(id, ['/probe', 'keyring']);
    expect(inside.status).toBe(0);
    expect(Number(inside.stdout)).toBeGreaterThan(0);
    expect(inside.stdout).not.toBe(ours);
  });
});

describe('a container', () => {
  it('sees nothing behind the masks, cannot write what is read-only, and has no release_agent (CVE-2022-0492)', async () => {
    const masked = ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/scsi', '/proc/interrupts', '/sys/firmware'];
    const script = `for p in ${masked.join(' ')}; do test -d $p && ls -A $p || cat $p; done 2>&1 | grep -v "No such file"
      for p in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity; do echo x 2>&- > $p && echo "wrote $p"; done
      find /sys/fs/cgroup -name release_agent -writable; mkdir /c; mount -t cgroup -o memory none /c 2>&- && echo mounted; true`;
    expect(await context.strata.sh(script)).toBe('');
  });

  it('has no mount that a link of its image leads into /proc (CVE-2019-16884)', async () => {
    const { strata } = context;
    const run = strata.run({ image, tmpfs: { '/innocent/tty': '' }, command: ['true'] });
    expect((await failure(run)).message).toContain('symbolic link');
  });
});

describe('what is longer than a list can carry', () => {
  it('does not keep clients from lists and events: commands', async () => {
    const { strata } = context;
    const command = ['echo', ...Array.from({ length: 12 }, () => 'x'.repeat(131_000))];
    const ids: string[] = [];
    for (let made = 0; made < 3; made += 1) {
      ids.push((await strata.connection.request('container.create', { options: { image: 'busybox', command } })).id);
    }
    const { containers } = await strata.connection.request('container.list', { all: true });
    expect(containers.map(({ id }) => id).sort()).toEqual(ids.sort());
    for (const short of containers) {
      expect(short.command.join(' ')).toMatch(/^echo x+…$/);
      expect(short.command.join(' ').length).toBeLessThanOrEqual(4096);
      const whole = await strata.connection.request('container.inspect', { container: short.id });
      expect(whole.process.args).toEqual(command);
    }
  });

  it('does not keep clients from lists and events: labels', async () => {
    const { strata } = context;
    const labels = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`label-${index}`, 'x'.repeat(4000)]));
    const error = await failure(strata.connection.request('container.create', { options: { image: 'busybox', labels } }));
    expect(error.code).toBe('INVALID_REQUEST');
    expect(error.message).toContain('16384 characters');
  });

  it("does not keep clients from lists and events: an image's own words", async () => {
    const { strata } = context;
    const layout = withConfig(strata.place.directory, (config) => ({
      ...config,
      created: 'on the day after tomorrow, if the weather is fine and nobody minds',
      os: 'o'.repeat(1000),
      history: config.history.map((entry) => ({ ...entry, created: `${'9'.repeat(100)}`, created_by: 'RUN '.padEnd(10_000, 'x') })),
    }));
    const before = Date.now();
    await strata.connection.request('image.import', { source: { kind: 'ociLayout', path: layout }, reference: 'wordy' });
    const { images } = await strata.connection.request('events.subscribe', {});
    const wordy = images.find(({ references }) => references.includes('wordy:latest'));
    expect(wordy?.os).toMatch(/^o{63}…$/);
    // What is no time is not shown as one: the image is as old as its import.
    expect(Date.parse(wordy?.createdAt ?? '')).toBeGreaterThanOrEqual(before);
    const { layers } = await strata.connection.request('layer.stack', { kind: 'image', image: 'wordy' });
    expect(layers.map(({ createdAt }) => createdAt)).toEqual([null, null, null]);
    for (const { createdBy } of layers) expect(createdBy).toMatch(/^RUN x{4091}…$/);
    await strata.connection.request('image.remove', { image: 'wordy' });
  });
});

/** A layout like makeOciLayout's, whose config says something else; its path. */

describe('an image layout with something else than files', () => {
  const spoilt = (spoil: (blob: string, layout: string) => void, pick: 'manifest' | 'layer'): string => {
    const { directory } = context.strata.place;
    const layout = fs.mkdtempSync(path.join(directory, 'spoilt-'));
    fs.cpSync(makeOciLayout(directory), layout, { recursive: true });
    const blobOf = (digest: string): string => path.join(layout, 'blobs', digest.replace(':', '/'));
    const index: unknown = JSON.parse(fs.readFileSync(path.join(layout, 'index.json'), 'utf8'));
    const manifest = blobOf((index as { manifests: [{ digest: string }] }).manifests[0].digest); // umoci's
    const layers = (JSON.parse(fs.readFileSync(manifest, 'utf8')) as { layers: [{ digest: string }] }).layers; // umoci's
    const blob = pick === 'manifest' ? manifest : blobOf(layers[0].digest);
    fs.rmSync(blob);
    spoil(blob, layout);
    return layout;
  };
  const importLayout = (layout: string): Promise<unknown> =>
    context.strata.connection.request('image.import', { source: { kind: 'ociLayout', path: layout }, reference: 'spoilt' });

  it.each(['manifest', 'layer'] as const)('is refused at once, and the helper goes on (a FIFO as %s)', async (pick) => {
    // More than libuv has threads: each read that waited for a writer would hold one of them for ever.
    const layouts = Array.from({ length: 6 }, () => spoilt((blob) => execFileSync('mkfifo', [blob]), pick));
    const errors = await Promise.all(layouts.map((layout) => failure(importLayout(layout))));
    for (const error of errors) expect(error.message).toContain('no regular file');
    expect(await context.strata.sh('echo alive')).toBe('alive\n');
  });

  it.each(['manifest', 'layer'] as const)('is refused at once (an endless device as %s)', async (pick) => {
    const layout = spoilt((blob) => fs.symlinkSync('/dev/zero', blob), pick);
    expect(await failure(importLayout(layout))).toMatchObject({
      code: 'IMAGE_INVALID',
      message: expect.stringContaining('no regular file') as unknown,
    });
  });
});

describe('a layer', () => {
  it('whose directory has more to tell than a message holds is listed in part', async () => {
    const { strata } = context;
    const id = await strata.start();
    const target = 'x'.repeat(4000);
    await strata.exec(id, ['sh', '-c', `mkdir /d; i=0; while [ $i -lt 1300 ]; do ln -s ${target} /d/$i; i=$((i+1)); done`]);
    const { entries, truncated } = await strata.connection.request('layer.list', {
      layer: { kind: 'upper', container: containerIdSchema.parse(id) },
      path: '/d',
    });
    expect(truncated).toBe(true);
    expect(entries.length).toBeGreaterThan(100);
  });

  it('of endless sparse files is refused, and a damaged record does not keep the helper from starting', async () => {
    const { strata } = context;
    const archive = sparseArchive(strata.place.directory);
    expect((await failure(importTar(strata.connection, archive, 'sparse'))).message).toContain('larger than the limit');
    const { config } = await strata.connection.request('image.inspect', { image });
    const record = path.join(strata.place.root, 'layers', config.rootfs.diff_ids[0]?.slice('sha256:'.length) ?? '', 'layer.json');
    const whole = fs.readFileSync(record, 'utf8');
    fs.writeFileSync(record, whole.replace(/"sizeBytes": \d+/, '"sizeBytes": 1e17'));
    strata.connection.close();
    await strata.helper.stop();
    await strata.restart();
    expect(await strata.sh('echo alive')).toBe('alive\n');
    // Its directory is still the layer, and importing it again makes it known again.
    await strata.connection.request('image.import', { source: { kind: 'directory', path: path.dirname(probe()) }, reference: image });
    expect(await strata.sh('echo healed', { image })).toBe('healed\n');
    expect(sizeIn(fs.readFileSync(record, 'utf8'))).toBe(sizeIn(whole));
  });
});

/** Two files of 12 TiB each without a byte in them. */
function sparseArchive(directory: string): Buffer {
  const files = fs.mkdtempSync(path.join(directory, 'sparse-'));
  for (const name of ['one', 'two']) execFileSync('truncate', ['-s', '12T', path.join(files, name)]);
  const bytes = execFileSync('tar', ['-c', '-S', '--format=pax', '-C', files, '.']);
  fs.rmSync(files, { recursive: true });
  return bytes;
}

const sizeIn = (record: string): string | undefined => /"sizeBytes": (\d+)/.exec(record)?.[1];

/** The most memory that the process ever had. */
function peakBytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

describe('a container with CAP_SYS_PTRACE', () => {
  // A supervisor that runs keeps its file from being written at all; what counts is that nobody else's turn comes after it.
  it('holds the executable of a process that joins it only on a mount that is read-only (CVE-2019-5736)', async () => {
    const { strata } = context;
    const id = await strata.start({ image, capAdd: ['SYS_PTRACE'], command: ['/attacker', 'overwrite-runtime'] });
    const said = async (): Promise<string> => (await strata.cli(['logs', id])).stdout;
    await until(async () => (await said()).includes('ready'), 'the attacker');
    await until(async () => {
      for (let i = 0; i < 10; i += 1) expect((await strata.exec(id, ['/attacker', 'key', 'none'])).status).toBe(0);
      return (await said()).includes('held');
    }, 'an executable in its hands');
    expect(await said()).toMatch(/^ready\nheld on a read-only mount\n(refused.*)?$/);
  });

  it('finds nothing of the host in a process that joins it', async () => {
    const { strata } = context;
    const { directory } = strata.place;
    // Looks at every other process as fast as it can: descriptors that lead to the host, a root that is not the container's.
    const look = [
      'for p in /proc/[0-9]*; do case $p in /proc/1) ;; *)',
      `test -e $p/root${directory} && echo "$p has the host's root";`,
      'ls -l $p/fd 2>/dev/null | grep -E " /(tmp|run|work|sys|var)/";; esac; done',
    ].join(' ');
    const id = await strata.start({ capAdd: ['SYS_PTRACE'], command: ['sh', '-c', `while :; do ${look}; done > /dev/shm/seen`] });
    for (let round = 0; round < 40; round += 1) expect((await strata.exec(id, ['true'])).status).toBe(0);
    expect((await strata.exec(id, ['cat', '/dev/shm/seen'])).stdout).toBe('');
  });
});
