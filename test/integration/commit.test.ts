import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { loadAddon } from '../../helper/native/addon.ts';
import type { ImageSummary, Params } from '../../helper/protocol/index.ts';
import { distFile } from './support/helperProcess.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();
const maps = [{ containerId: 0, hostId: 200_000, size: 65_536 }];
const userNamespace = { uidMaps: maps, gidMaps: maps };
const created = '2026-01-02T03:04:05.000Z';

afterEach(() => context.strata.forgetImages());

async function sh(container: string, script: string): Promise<string> {
  const result = await context.strata.exec(container, ['sh', '-c', script]);
  expect(result, result.stderr).toMatchObject({ status: 0 });
  return result.stdout;
}

async function commit(container: string, options: Omit<Params<'container.commit'>, 'container'> = {}): Promise<ImageSummary> {
  const { image } = await context.strata.connection.request('container.commit', { container, reference: 'made:1', ...options });
  return image;
}

/** What the image shows a container of it. */
async function shown(script: string, image = 'made:1'): Promise<string> {
  return await context.strata.sh(script, { image, entrypoint: [] });
}

async function layerOf(image: ImageSummary): Promise<{ path: string; diffId: string | null }> {
  const { layers } = await context.strata.connection.request('layer.stack', { kind: 'image', image: image.id });
  const [top] = layers;
  if (top === undefined) throw new Error('an image without layers');
  return { path: top.path, diffId: top.diffId };
}

/** The digest that the layer's blob would have today. */
async function packedDigest(directory: string): Promise<string> {
  const file = fs.openSync('/dev/null', 'w');
  try {
    return (await loadAddon(distFile('strata.node')).packDirectory(directory, file)).diffId;
  } finally {
    fs.closeSync(file);
  }
}

describe.each([
  { kind: 'a container', options: {} },
  { kind: 'a container with a user namespace', options: { userNamespace } },
])('$kind', ({ options }) => {
  it.each(['running', 'stopped'])('becomes an image with what it changed: %s', async (state) => {
    const id = await context.strata.start({ ...options, tmpfs: { '/scratch': '' } });
    await sh(
      id,
      [
        'echo own > /root/own && chown 5:6 /root/own && chmod 4750 /root/own',
        'ln /root/own /root/hard && ln -s own /root/link && mkfifo /root/fifo',
        'rm /etc/passwd && rm -r /var/spool 2>/dev/null; mkdir -p /var/spool && echo new > /var/spool/new',
        'echo "1.2.3.4 other" >> /etc/hosts && echo on-tmpfs > /scratch/file',
      ].join(' && '),
    );
    if (state === 'stopped') await context.strata.connection.request('container.stop', { container: id, graceMs: 0 });
    const image = await commit(id);
    expect(await context.strata.find(id)).toMatchObject({ state: { kind: state === 'running' ? 'running' : 'exited' } });
    expect(image).toMatchObject({ references: ['made:1'], layerCount: 2 });
    const facts = 'cd /root && cat own && stat -c "%u:%g %a %h" own hard && readlink link && ls -l fifo | cut -c1 && ls /var/spool';
    expect(await shown(facts)).toBe('own\n5:6 4750 2\n5:6 4750 2\nown\np\nnew\n');
    expect(await shown('ls /etc/passwd /scratch/file 2>&1 | wc -l; grep -c other /etc/hosts; true')).toBe('2\n0\n');
    // What is asked for by digest later is what is in the store.
    const layer = await layerOf(image);
    expect(await packedDigest(layer.path)).toBe(layer.diffId);
    expect(fs.existsSync(path.join(layer.path, 'etc/hosts'))).toBe(false);
  });
});

it('is paused meanwhile and goes on', async () => {
  const id = await context.strata.start({ command: ['sh', '-c', 'while :; do echo x >> /log; done'] });
  const actions: string[] = [];
  await context.strata.connection.request('events.subscribe', {});
  const off = context.strata.connection.onEvent((event, params) => {
    if (event !== 'container.changed' || !('container' in params) || typeof params.container === 'string' || params.container.id !== id)
      return;
    const { state } = params.container;
    actions.push(state.kind === 'running' && state.paused === true ? 'paused' : 'running');
  });
  await commit(id);
  expect(actions).toEqual(['paused', 'running']);
  await commit(id, { reference: 'made:2', pause: false });
  off();
  expect(actions).toHaveLength(2);
  expect((await context.strata.find(id)).state).not.toHaveProperty('paused');
  // One that a person paused stays so.
  await context.strata.connection.request('container.pause', { container: id });
  await commit(id, { reference: 'made:3' });
  expect((await context.strata.find(id)).state).toMatchObject({ kind: 'running', paused: true });
  expect(await shown('test -s /log && echo written', 'made:2')).toBe('written\n');
});

it('is the same image when it is made again at the same time', async () => {
  const id = await context.strata.start({ command: ['sleep', '1000'], env: ['MODE=first'], labels: { a: 'b' } });
  await sh(id, 'echo text > /file');
  const first = await commit(id, { created, message: 'why' });
  const again = await commit(id, { created, message: 'why', reference: 'made:2' });
  expect(again.id).toBe(first.id);
  expect((await commit(id)).id).not.toBe(first.id);
});

it('keeps what the container was told, and takes changes of a Dockerfile', async () => {
  const id = await context.strata.start({
    command: ['sleep', '1000'],
    env: ['MODE=first', 'KEPT=yes'],
    user: '0',
    workingDirectory: '/tmp',
    labels: { a: 'b' },
  });
  await commit(id, {
    created,
    author: 'Ada',
    message: 'why',
    changes: [
      'CMD ["echo", "$MODE"]',
      'env MODE="second one" MORE=$KEPT/${NONE:-else}',
      'EXPOSE 80 53/udp',
      'LABEL a=c "d e"=f',
      'USER 7:8',
      'VOLUME /data',
      'WORKDIR sub',
      'STOPSIGNAL 15',
      'HEALTHCHECK --interval=5s --retries=2 CMD true',
    ],
  });
  const { config } = await context.strata.connection.request('image.inspect', { image: 'made:1' });
  expect(config).toMatchObject({
    created,
    author: 'Ada',
    config: {
      Cmd: ['echo', '$MODE'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Labels: { a: 'c', 'd e': 'f' },
      User: '7:8',
      Volumes: { '/data': {} },
      WorkingDir: '/tmp/sub',
      StopSignal: 'SIGTERM',
      Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 5e9, Retries: 2 },
    },
  });
  expect(config.config?.Env).toEqual(expect.arrayContaining(['MODE=second one', 'KEPT=yes', 'MORE=yes/else']));
  expect(config.history?.at(-1)).toEqual({ created, created_by: 'sleep 1000', author: 'Ada', comment: 'why', empty_layer: true });
  const error = await failure(commit(id, { changes: ['RUN make'] }));
  expect(error).toMatchObject({ code: 'INVALID_REQUEST' });
  expect(error.message).toContain('RUN make');
});

it('has no layer more where nothing was changed', async () => {
  const image = await commit(await context.strata.start());
  expect(image.layerCount).toBe(1);
  expect(await shown('echo runs')).toBe('runs\n');
});

it('takes an upper that means ill', async () => {
  const id = await context.strata.start();
  await sh(
    id,
    [
      'mkfifo /fifo && truncate -s 1099511627776 /huge && echo end >> /huge',
      'ln -s /proc/self/root/etc/shadow /link && ln -s ../../../../../../etc /up',
      'mkdir -p /deep && cd /deep && for i in $(seq 300); do mkdir directory && cd directory; done',
    ].join(' && '),
  );
  const { paths } = await context.strata.connection.request('container.inspect', { container: id });
  // A socket in the place of a file of the image.
  fs.mkdirSync(path.join(paths.upper, 'etc'), { recursive: true });
  execFileSync('python3', [
    '-c',
    'import socket, os, sys; os.chdir(sys.argv[1]); socket.socket(socket.AF_UNIX).bind("group")',
    `${paths.upper}/etc`,
  ]);
  const image = await commit(id);
  expect(await shown('ls -l /huge | cut -d" " -f1; tail -c 4 /huge; ls /etc/group 2>&1 | grep -c "No such"; readlink /link')).toBe(
    '-rw-r--r--\nend\n1\n/proc/self/root/etc/shadow\n',
  );
  const layer = await layerOf(image);
  expect(fs.statSync(path.join(layer.path, 'huge')).blocks).toBeLessThan(4096);
  expect(await packedDigest(layer.path)).toBe(layer.diffId);
});

it('says what no layer can hold', async () => {
  const id = await context.strata.start();
  await sh(id, 'touch /root/.wh.passwd');
  const error = await failure(commit(id));
  expect(error).toMatchObject({ code: 'LAYER_IMPOSSIBLE' });
  expect(error.message).toContain('root/.wh.passwd');
  expect((await context.strata.connection.request('image.list', {})).images).toHaveLength(1);
  expect((await context.strata.find(id)).state).not.toHaveProperty('paused');
});

it('outlives the removal of the container and of the image that it is made of', async () => {
  const base = await context.strata.start();
  await sh(base, 'echo one > /one');
  await commit(base, { reference: 'base:1' });
  const id = await context.strata.start({ image: 'base:1' });
  await sh(id, 'echo two > /two');
  await commit(id);
  await context.strata.remove(id);
  await context.strata.connection.request('image.remove', { image: 'base:1' });
  await context.strata.helper.crash();
  await context.strata.restart();
  expect(await shown('cat /one /two')).toBe('one\ntwo\n');
});

it('is unpacked after the answer, by the next helper if need be', async () => {
  const { strata } = context;
  const id = await strata.start();
  await sh(id, 'mkdir /many && cd /many && for i in $(seq 10000); do echo $i > $i; done');
  const packed = path.join(strata.place.root, 'packed');
  const image = await commit(id, { created });
  await strata.helper.crash();
  expect(fs.readdirSync(packed)).toHaveLength(1);
  await strata.restart();
  expect(await shown('ls /many | wc -l')).toBe('10000\n');
  expect(fs.readdirSync(packed)).toEqual([]);
  // Its layer is here, unpacked: nothing is packed for it again.
  await strata.connection.request('image.remove', { image: 'made:1' });
  expect((await commit(id, { created })).id).toBe(image.id);
  await strata.connection.request('image.remove', { image: 'made:1' });
  expect(fs.readdirSync(packed)).toEqual([]);
  expect(fs.readdirSync(path.join(strata.place.root, 'tmp'))).toEqual([]);
});

/** Of a container that never ran. */
async function copyOf(image: string): Promise<void> {
  const { strata } = context;
  const { id } = await strata.connection.request('container.create', { options: { image } });
  const { stdout } = await strata.cli(['cp', `${id}:/file`, '-']);
  expect(stdout).toContain('text');
  await strata.remove(id);
}

it.each([
  { needs: 'a copy', use: copyOf },
  { needs: 'its files', use: async (image: string) => await layerOf(await context.strata.connection.request('image.inspect', { image })) },
  { needs: 'a squash', use: async (image: string) => await context.strata.connection.request('image.squash', { image }) },
  { needs: 'an archive', use: async (image: string) => await context.strata.cli(['save', '-o', '/dev/null', image]) },
])('is unpacked at once for who needs $needs', async ({ use }) => {
  const id = await context.strata.start();
  await sh(id, 'echo text > /file');
  await commit(id);
  await use('made:1');
  expect(fs.readdirSync(path.join(context.strata.place.root, 'packed'))).toEqual([]);
});

it('is unpacked before the answer where it is large', async () => {
  const id = await context.strata.start();
  await sh(id, 'dd if=/dev/urandom of=/large bs=1M count=65 2>&1');
  await commit(id);
  expect(fs.readdirSync(path.join(context.strata.place.root, 'packed'))).toEqual([]);
  expect(await shown('stat -c %s /large')).toBe(`${65 * 1024 * 1024}\n`);
});

it('says of a layer that was damaged before it was unpacked what is wrong, and lets its image be removed', async () => {
  const { strata } = context;
  const id = await strata.start();
  await sh(id, 'echo text > /file');
  await sh(id, 'mkdir /many && cd /many && for i in $(seq 10000); do echo $i > $i; done');
  await commit(id);
  await strata.helper.crash();
  const packed = path.join(strata.place.root, 'packed');
  const tar = path.join(packed, fs.readdirSync(packed)[0] ?? '', 'layer.tar');
  const bytes = fs.readFileSync(tar);
  bytes.write('tEXT', bytes.indexOf('text'));
  fs.writeFileSync(tar, bytes);
  await strata.restart();
  const made = await strata.connection.request('container.create', { options: { image: 'made:1' } });
  const error = await failure(strata.connection.request('container.start', { container: made.id }));
  expect(error).toMatchObject({ code: 'IMAGE_INVALID' });
  expect(error.message).toContain('is not what its digest says');
  await strata.remove(made.id);
  await strata.connection.request('image.remove', { image: 'made:1' });
  expect(fs.readdirSync(packed)).toEqual([]);
});

it('lets a container go on that stood still when the helper died', async () => {
  const id = await context.strata.start();
  const { paths } = await context.strata.connection.request('container.inspect', { container: id });
  await context.strata.connection.request('container.pause', { container: id });
  // As a commit leaves it that is cut off.
  fs.writeFileSync(path.join(paths.run, 'held'), '');
  await context.strata.helper.crash();
  await context.strata.restart();
  expect((await context.strata.find(id)).state).not.toHaveProperty('paused');
  expect(await sh(id, 'echo goes on')).toBe('goes on\n');
  expect(fs.existsSync(path.join(paths.run, 'held'))).toBe(false);
});

it('is there on the command line', async () => {
  const id = await context.strata.start({ name: 'busy' });
  await sh(id, 'echo text > /file');
  const { status, stdout, stderr } = await context.strata.cli(['commit', '-c', 'CMD ["cat", "/file"]', '--created', '0', 'busy', 'made:1']);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { images } = await context.strata.connection.request('image.list', {});
  const image = images.find(({ references }) => references.includes('made:1'));
  expect(stdout).toBe(`${image?.id}\n`);
  expect(image?.createdAt).toBe('1970-01-01T00:00:00.000Z');
  expect((await context.strata.run({ image: 'made:1', autoRemove: true })).stdout).toBe('text\n');
  const nameless = await context.strata.cli(['commit', '--pause=false', id]);
  expect(nameless.status).toBe(0);
  expect((await context.strata.cli(['images', '--dangling', '--no-trunc', '-q'])).stdout).toBe(nameless.stdout);
  const refused = await context.strata.cli(['commit', '-c', 'CMD', id]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('-c: the change "CMD" cannot be made: a command is missing');
});
