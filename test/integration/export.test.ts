import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTar, type TarMember } from '../../helper/archive/tarReader.ts';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { importTar } from './support/archives.ts';
import { useStrata } from './support/strata.ts';

const context = useStrata();
const maps = [{ containerId: 0, hostId: 200_000, size: 65_536 }];
const userNamespace = { uidMaps: maps, gidMaps: maps };

let place: string;
beforeAll(() => {
  place = fs.mkdtempSync(path.join(tmpdir(), 'strata-export-'));
});
afterAll(() => fs.rmSync(place, { recursive: true, force: true }));

async function members(container: string): Promise<Map<string, TarMember>> {
  const found = new Map<string, TarMember>();
  for await (const member of readTar(await new ContainerArchive(context.strata.connection, container).export()))
    found.set(member.name, member);
  return found;
}

async function sh(container: string, script: string): Promise<void> {
  const result = await context.strata.exec(container, ['sh', '-c', script]);
  expect(result, result.stderr).toMatchObject({ status: 0 });
}

describe.each([
  { kind: 'a container', options: {} },
  { kind: 'a container with a user namespace', options: { userNamespace } },
])('$kind', ({ options }) => {
  it.each(['running', 'stopped'])('is exported whole, without what is mounted in it: %s', async (state) => {
    const id = await context.strata.start({ ...options, tmpfs: { '/scratch': '' } });
    await sh(
      id,
      'echo text > /scratch/on-tmpfs && echo own > /root/own && chown 5:6 /root/own && rm /etc/passwd && echo "1.2.3.4 x" >> /etc/hosts',
    );
    if (state === 'stopped') await context.strata.connection.request('container.stop', { container: id, graceMs: 0 });
    const found = await members(id);
    expect(found.get('./root/own')).toMatchObject({ sizeBytes: 4, uid: 5, gid: 6 });
    expect(found.get('./bin/busybox')?.sizeBytes).toBeGreaterThan(100_000);
    expect(found.has('./etc/passwd')).toBe(false);
    expect(found.get('./etc/hosts')).toMatchObject({ kind: 'file', sizeBytes: 0 });
    expect(found.get('./etc/resolv.conf')).toMatchObject({ sizeBytes: 0 });
    const below = (directory: string): string[] => [...found.keys()].filter((name) => name.startsWith(directory));
    for (const directory of ['./proc/', './sys/', './dev/', './scratch/']) expect(below(directory)).toEqual([directory]);
  });
});

it('makes an image that runs', async () => {
  const id = await context.strata.start();
  await sh(id, 'echo made here > /made');
  const file = path.join(place, 'root.tar');
  expect(await context.strata.cli(['export', '-o', file, id])).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(fs.readdirSync(place)).toEqual(['root.tar']);
  expect(execFileSync('tar', ['-xOf', file, './made'], { encoding: 'utf8' })).toBe('made here\n');
  await importTar(context.strata.connection, fs.readFileSync(file), 'again:1');
  expect(await context.strata.sh('cat /made', { image: 'again:1' })).toBe('made here\n');
  expect((await context.strata.cli(['export', id])).stdout.length).toBeGreaterThan(100_000);
});

it('leaves nothing where the file cannot be written, or the container is removed', async () => {
  const id = await context.strata.start();
  const result = await context.strata.cli(['export', '-o', '/proc/nowhere/x.tar', id]);
  expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining('cannot write /proc/nowhere/x.tar') as unknown });
  await sh(id, 'head -c 30000000 /dev/zero | tr "\\0" x > /large');
  await expect(
    (async () => {
      for await (const _ of await new ContainerArchive(context.strata.connection, id).export()) await context.strata.remove(id);
    })(),
  ).rejects.toMatchObject({ code: expect.stringMatching(/COPY_INTERRUPTED|CONTAINER_NOT_FOUND/) as unknown });
});
