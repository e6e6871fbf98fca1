import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { tarOf } from '../support/imageLayout.ts';
import { Registry } from '../support/registry.ts';
import { useStrata } from '../support/strata.ts';
import { useContainerd } from './support/containerd.ts';
import { useDocker } from './support/docker.ts';
import { usePodman } from './support/podman.ts';

const context = useStrata();
let workspace: string;
beforeAll(() => {
  workspace = fs.mkdtempSync('/tmp/strata-saved-');
});
afterAll(() => fs.rmSync(workspace, { recursive: true, force: true }));
afterEach(() => context.strata.forgetImages());

const fresh = (name: string): string => path.join(fs.mkdtempSync(path.join(workspace, 'x-')), name);

/** `strata …`; its stdout. */
async function strata(...args: string[]): Promise<string> {
  const ran = await context.strata.cli(args);
  expect(ran, ran.stderr).toMatchObject({ status: 0 });
  return ran.stdout;
}

async function idOf(image: string): Promise<string> {
  return (await context.strata.connection.request('image.inspect', { image })).id;
}

/** A rootfs tar with one more file, which makes a second layer of its own. */
const added = (): Buffer => tarOf(workspace, { 'from/elsewhere': 'yes\n' });

/** An image of two layers that was made here. */
async function makeImage(name: string): Promise<string> {
  const layout = fresh('layout');
  execFileSync('umoci', ['init', '--layout', layout]);
  execFileSync('umoci', ['new', '--image', `${layout}:made`]);
  for (const tar of [fs.readFileSync(path.join(import.meta.dirname, '../../../dist/images/busybox.tar')), added()]) {
    const file = fresh('layer.tar');
    fs.writeFileSync(file, tar);
    execFileSync('umoci', ['raw', 'add-layer', '--image', `${layout}:made`, file]);
  }
  execFileSync('umoci', [
    'config',
    '--image',
    `${layout}:made`,
    '--config.cmd',
    'cat',
    '--config.cmd',
    '/from/elsewhere',
    '--config.env',
    'PATH=/bin',
  ]);
  await strata('import', layout, name);
  return await idOf(name);
}

/** An image of a container that changed and removed files, in the registry; its name. */
async function pushCommitted(registry: Registry): Promise<string> {
  const name = `${registry.host}/test/committed:1`;
  const script = 'mkdir /from && echo yes > /from/elsewhere && rm /etc/group && chown 5:6 /from/elsewhere';
  const { id } = await context.strata.run({ command: ['sh', '-c', script] });
  await strata('commit', '-c', 'CMD ["sh", "-c", "test ! -e /etc/group && cat /from/elsewhere"]', id, name);
  await strata('push', name);
  return name;
}

function manifestsIn(archive: string): string[] {
  const index = JSON.parse(execFileSync('tar', ['-xOf', archive, 'index.json'], { encoding: 'utf8' })) as {
    manifests: { digest: string }[];
  };
  return index.manifests.map(({ digest }) => digest);
}

const hashOf = (file: string): string => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

describe('Docker', () => {
  const engine = useDocker();

  it('writes what is loaded, with equal ids, several images in one archive', async () => {
    const { docker } = engine;
    fs.writeFileSync(docker.place.file('Dockerfile'), 'FROM busybox\nADD extra.tar /\nCMD ["cat", "/from/elsewhere"]\n');
    fs.writeFileSync(docker.place.file('extra.tar'), added());
    await docker.output('build', '-q', '-t', 'test/built:1', docker.place.directory, '-f', docker.place.file('Dockerfile'));
    await docker.output('tag', 'test/built:1', 'registry.test:5000/built:2');
    const archive = fresh('docker.tar');
    await docker.output('save', '-o', archive, 'test/built:1', 'registry.test:5000/built:2', 'busybox');
    const loaded = await strata('load', '-q', '-i', archive);
    expect(loaded.trim().split('\n').sort()).toEqual(
      ['busybox:latest', 'registry.test:5000/built:2', 'test/built:1'].map((name) => `Loaded image: ${name}`),
    );
    expect(await idOf('test/built:1')).toBe(await docker.inspect('test/built:1', '{{.Id}}'));
    expect(await strata('run', '--rm', 'registry.test:5000/built:2')).toBe('yes\n');

    const saved = fresh('saved.tar');
    await strata('save', '-o', saved, 'test/built:1', 'registry.test:5000/built:2');
    await docker.output('rmi', 'test/built:1', 'registry.test:5000/built:2');
    await docker.output('load', '-q', '-i', saved);
    expect(await docker.inspect('registry.test:5000/built:2', '{{.Id}}')).toBe(await idOf('test/built:1'));
    expect(await docker.output('run', '--rm', 'test/built:1')).toBe('yes\n');
    await docker.output('rmi', '--force', 'test/built:1', 'registry.test:5000/built:2');
  });

  it('loads what was made here', async () => {
    const { docker } = engine;
    const id = await makeImage('test/made:1');
    const saved = fresh('made.tar');
    await strata('save', '-o', saved, 'test/made:1');
    expect(await docker.output('load', '-i', saved)).toContain('test/made:1');
    expect(await docker.inspect('test/made:1', '{{.Id}}')).toBe(id);
    expect(await docker.output('run', '--rm', 'test/made:1')).toBe('yes\n');
    await docker.output('rmi', 'test/made:1');
  });

  it('pulls what was committed here and pushed', async () => {
    const { docker } = engine;
    await using registry = await Registry.start(workspace);
    const name = await pushCommitted(registry);
    await registry.alsoIn((...words) => docker.place.inNetwork(...words));
    await docker.output('pull', '-q', name);
    expect(await docker.inspect(name, '{{.Id}}')).toBe(await idOf(name));
    expect(await docker.output('run', '--rm', name)).toBe('yes\n');
    await docker.output('rmi', name);
  });
});

describe('Podman and Buildah', () => {
  const engine = usePodman();

  it('pull what was committed here and pushed', async () => {
    const { podman } = engine;
    await using registry = await Registry.start(workspace);
    const name = await pushCommitted(registry);
    await registry.alsoIn((...words) => podman.place.inNetwork(...words));
    await podman.output('pull', '-q', '--tls-verify=false', name);
    expect(`sha256:${await podman.inspect(name, '{{.Id}}')}`).toBe(await idOf(name));
    expect((await podman.run('run', '--rm', '--cgroup-parent', podman.place.cgroupParent, name)).stdout).toBe('yes\n');
    await podman.output('rmi', name);
  });

  it.each(['docker-archive', 'oci-archive'])('write what is loaded, and load what is saved: %s', async (format) => {
    const { podman } = engine;
    fs.writeFileSync(podman.place.file('Containerfile'), 'FROM localhost/busybox\nADD extra.tar /\nCMD ["cat", "/from/elsewhere"]\n');
    fs.writeFileSync(podman.place.file('extra.tar'), added());
    const built = await podman.buildah(
      'bud',
      '--isolation',
      'chroot',
      '-q',
      '-t',
      'localhost/built:1',
      '-f',
      podman.place.file('Containerfile'),
      podman.place.directory,
    );
    expect(built, built.stderr).toMatchObject({ status: 0 });
    const archive = fresh('podman.tar');
    await podman.output('save', '-q', '--format', format, '-o', archive, 'localhost/built:1');
    expect(await strata('load', '-q', '-i', archive)).toBe('Loaded image: localhost/built:1\n');
    expect(await strata('run', '--rm', 'localhost/built:1')).toBe('yes\n');

    const saved = fresh('saved.tar');
    await strata('save', '-o', saved, '--format', format, 'localhost/built:1');
    await podman.output('rmi', '--force', 'localhost/built:1');
    await podman.output('load', '-q', '-i', saved);
    expect(`sha256:${await podman.inspect('localhost/built:1', '{{.Id}}')}`).toBe(await idOf('localhost/built:1'));
    expect((await podman.run('run', '--rm', '--cgroup-parent', podman.place.cgroupParent, 'localhost/built:1')).stdout).toBe('yes\n');
    await podman.output('rmi', '--force', 'localhost/built:1');
  });

  it('write several images in one archive', async () => {
    const { podman } = engine;
    await podman.output('tag', 'localhost/busybox', 'localhost/other:2');
    const archive = fresh('several.tar');
    await podman.output('save', '-q', '-m', '-o', archive, 'localhost/busybox', 'localhost/other:2');
    expect((await strata('load', '-q', '-i', archive)).trim().split('\n').sort()).toEqual([
      'Loaded image: localhost/busybox:latest',
      'Loaded image: localhost/other:2',
    ]);
  });
});

describe('containerd', () => {
  const engine = useContainerd();

  it('writes what is loaded, and loads what is saved, with equal manifests', async () => {
    const { containerd } = engine;
    const archive = fresh('ctr.tar');
    await containerd.output('images', 'export', archive, 'example.org/busybox:latest');
    expect(await strata('load', '-q', '-i', archive)).toBe('Loaded image: example.org/busybox:latest\n');
    expect(await strata('run', '--rm', 'example.org/busybox:latest', 'echo', 'hello')).toBe('hello\n');

    await makeImage('test/made:1');
    const saved = fresh('saved.tar');
    await strata('save', '-o', saved, 'test/made:1', 'example.org/busybox:latest');
    await containerd.output('images', 'import', saved);
    const listed = await containerd.output('images', 'ls');
    const digests = ['docker.io/test/made:1', 'example.org/busybox:latest'].map(
      (name) =>
        listed
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.match(/sha256:[0-9a-f]{64}/)?.[0],
    );
    expect(digests).toEqual(manifestsIn(saved));
    await containerd.output('images', 'rm', 'docker.io/test/made:1');
  });
});

describe('skopeo', () => {
  const skopeo = (...words: string[]): string => execFileSync('skopeo', ['--insecure-policy', ...words], { encoding: 'utf8' });

  it('copies from what is saved, and what it copied is loaded and saved as the same bytes', async () => {
    const id = await makeImage('test/made:1');
    const saved = fresh('saved.tar');
    await strata('save', '-o', saved, 'test/made:1');
    for (const transport of ['docker-archive', 'oci-archive']) {
      const inspected = JSON.parse(skopeo('inspect', '--config', `${transport}:${saved}`)) as { rootfs: { diff_ids: string[] } };
      expect(inspected.rootfs.diff_ids).toHaveLength(2);
    }
    expect(skopeo('inspect', '--raw', '--config', `oci-archive:${saved}`)).toSatisfy(
      (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}` === id,
    );
    // Through a directory and back: the digests are what they were.
    const directory = fresh('layout');
    skopeo('copy', '-q', `oci-archive:${saved}`, `oci:${directory}:again`);
    await strata('rmi', 'test/made:1');
    await strata('import', directory, 'test/made:1');
    const again = fresh('again.tar');
    await strata('save', '-o', again, 'test/made:1');
    expect(hashOf(again)).toBe(hashOf(saved));
  });
});
