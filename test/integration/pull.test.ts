import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { EventParams, EventRecord, MethodResult, Params } from '../../helper/protocol/index.ts';
import { LoopStore } from '../bench/store.ts';
import { distFile, HelperProcess, makePlace } from './support/helperProcess.ts';
import { goArchitecture, ImageLayout, tarOf } from './support/imageLayout.ts';
import { leftovers, removeCgroupParent } from './support/leaks.ts';
import { Registry, RegistryProxy, TestAuthority, TokenService } from './support/registry.ts';
import { failure, type Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();
const busybox = fs.readFileSync(distFile('images/busybox.tar'));

/** What the registry is filled with: `app` and `other` stand on the same busybox; `large` takes a while. */
let workspace: string;
let registry: Registry;
let layers: Readonly<Record<'app' | 'other' | 'large', Buffer>>;

beforeAll(async () => {
  workspace = fs.mkdtempSync('/tmp/strata-pull-');
  registry = await Registry.start(workspace);
  layers = {
    app: tarOf(workspace, { 'app/hello': 'hello from app\n', 'etc/.wh.group': '' }),
    other: tarOf(workspace, { 'other/hello': 'hello from other\n' }),
    // Random: nothing for gzip to make small.
    large: tarOf(workspace, { 'large/data': randomBytes(8 * 1024 * 1024) }),
  };
  const layout = new ImageLayout(path.join(workspace, 'layout'));
  layout.add('app', [busybox, layers.app], { command: ['cat', '/app/hello'] });
  layout.add('other', [busybox, layers.other], { command: ['cat', '/other/hello'] });
  layout.add('large', [busybox, layers.large], { command: ['sh', '-c', 'wc -c < /large/data'] });
  layout.addIndex('many', { [goArchitecture()]: [busybox, layers.app], s390x: [busybox, layers.other] });
  layout.addIndex('foreign', { s390x: [busybox], riscv64: [busybox] });
  for (const tag of ['app', 'other', 'large', 'many', 'foreign']) await registry.push(layout.directory, tag, `test/${tag}:1`);
  await registry.push(layout.directory, 'app', 'test/schema2:1', ['--format', 'v2s2']);
  await registry.push(layout.directory, 'app', 'test/zstd:1', ['--dest-compress-format', 'zstd']);
}, 60_000);

afterEach(() => context.strata.forgetImages());

afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  fs.rmSync(workspace, { recursive: true });
});

function pull(
  strata: Strata,
  reference: string,
  more: Partial<Params<'image.pull'>> = {},
  signal?: AbortSignal,
): Promise<MethodResult<'image.pull'>> {
  return strata.connection.request('image.pull', { reference, ...more }, signal === undefined ? {} : { signal });
}

/** Of the manifest that the registry has. */
async function manifestOf(name: string, host = registry.host): Promise<{ digest: string; layers: { digest: string; size: number }[] }> {
  const answer = await fetch(`http://${host}/v2/${name}/manifests/1`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  const manifest = (await answer.json()) as { layers: { digest: string; size: number }[] };
  return { digest: answer.headers.get('docker-content-digest') ?? '', layers: manifest.layers };
}

const partials = (strata: Strata): string[] => fs.readdirSync(path.join(strata.place.root, 'partial'));

describe('pull', () => {
  it.each(['app', 'schema2', 'zstd', 'many'])('brings an image that runs: %s', async (name) => {
    const { strata } = context;
    const reference = `${registry.host}/test/${name}:1`;
    const { image } = await pull(strata, reference);
    expect(image).toMatchObject({ references: [reference], layerCount: 2, architecture: goArchitecture() });
    expect(await strata.sh('cat /app/hello; ls /etc/group 2>&1 || true', { image: reference })).toMatch(
      /^hello from app\nls: .*No such file/,
    );
    expect(partials(strata)).toEqual([]);
  });

  it('brings only the layers that are not here, and tells of each', async () => {
    const { strata } = context;
    await using proxy = await RegistryProxy.before(registry, () => undefined);
    const told: EventParams<'image.transferring'>[] = [];
    const stop = strata.connection.onEvent((event, params) => {
      if (event === 'image.transferring') told.push(params as EventParams<'image.transferring'>); // of this event
    });
    await pull(strata, `${registry.host}/test/app:1`);
    await pull(strata, `${proxy.host}/test/other:1`, { progress: 7 });
    stop();
    const [shared, own] = (await manifestOf('test/other')).layers;
    expect(proxy.asked(shared?.digest ?? '')).toEqual([]);
    expect(proxy.asked(own?.digest ?? '')).toHaveLength(1);
    expect(told.at(-1)).toEqual({
      progress: 7,
      layers: [
        { digest: shared?.digest, state: 'present', doneBytes: shared?.size, totalBytes: shared?.size },
        { digest: own?.digest, state: 'done', doneBytes: own?.size, totalBytes: own?.size },
      ],
    });
    expect(told.every(({ progress }) => progress === 7)).toBe(true);
    const { stdout } = await strata.cli(['events', '--since', '0', '--until', 'now', '-f', 'event=pull', '--format', 'json']);
    const pulls = stdout.trimEnd().split('\n');
    expect(pulls.slice(-2).map((line) => (JSON.parse(line) as EventRecord).actor.name)).toEqual([
      `${registry.host}/test/app:1`,
      `${proxy.host}/test/other:1`,
    ]);
  });

  it('by digest, of another platform, and again when its name has moved on', async () => {
    const { strata } = context;
    const { digest } = await manifestOf('test/app');
    const pinned = `${registry.host}/test/app@${digest}`;
    expect((await pull(strata, pinned)).image.references).toEqual([pinned]);
    expect(await strata.sh('cat /app/hello', { image: pinned })).toBe('hello from app\n');
    expect((await pull(strata, `${registry.host}/test/many:1`, { platform: 'linux/s390x' })).image.architecture).toBe('s390x');
    const moved = `${registry.host}/test/moving:1`;
    const layout = path.join(workspace, 'layout');
    await registry.push(layout, 'app', 'test/moving:1');
    const first = (await pull(strata, moved)).image;
    await registry.push(layout, 'other', 'test/moving:1');
    const second = (await pull(strata, moved)).image;
    expect(second.id).not.toBe(first.id);
    expect(second.references).toContain(moved);
  });

  it('says what is not there', async () => {
    const { strata } = context;
    const refused = async (reference: string, more: Partial<Params<'image.pull'>> = {}) => await failure(pull(strata, reference, more));
    expect(await refused(`${registry.host}/test/nothing:1`)).toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      message: expect.stringContaining('test/nothing:1') as string,
    });
    const foreign = await refused(`${registry.host}/test/foreign:1`);
    expect(foreign).toMatchObject({ code: 'IMAGE_NOT_FOUND', hint: 'It is made for linux/s390x, linux/riscv64.' });
    expect(await refused('127.0.0.1:1/test:1')).toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining('127.0.0.1:1') as string,
    });
    expect(await refused('No such name')).toMatchObject({ code: 'REFERENCE_INVALID' });
    expect(await refused(`${registry.host}/test/app:1`, { platform: 'nonsense' })).toMatchObject({ code: 'INVALID_REQUEST' });
    expect((await strata.connection.request('image.list', {})).images).toHaveLength(1);
  });

  it('twice at once brings each blob once', async () => {
    const { strata } = context;
    await using proxy = await RegistryProxy.before(registry, () => undefined);
    const both = await Promise.all([pull(strata, `${proxy.host}/test/large:1`), pull(strata, `${proxy.host}/test/large:1`)]);
    expect(both[0].image.id).toBe(both[1].image.id);
    const [, large] = (await manifestOf('test/large')).layers;
    expect(proxy.asked(large?.digest ?? '')).toHaveLength(1);
  });
});

describe('a registry with troubles', () => {
  it('that breaks off a blob is asked for the rest of it', async () => {
    const { strata } = context;
    const [, large] = (await manifestOf('test/large')).layers;
    const cutAfter = 1_000_000;
    await using proxy = await RegistryProxy.before(registry, (asked, count) =>
      asked.endsWith(large?.digest ?? '-') && count <= 3 ? { cutAfter } : undefined,
    );
    await pull(strata, `${proxy.host}/test/large:1`);
    const starts = proxy.asked(large?.digest ?? '').map(({ range }) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]));
    expect(starts).toHaveLength(4);
    // Each goes on from what came before, of which some may be lost with its connection.
    expect(starts.every((start, index) => start <= index * cutAfter && (index === 0 || start > (starts[index - 1] ?? 0)))).toBe(true);
    expect(await strata.sh('wc -c < /large/data', { image: `${proxy.host}/test/large:1` })).toBe('8388608\n');
  });

  it('is asked again where that may help, and not where it cannot', async () => {
    const { strata } = context;
    await using busy = await RegistryProxy.before(registry, (asked, count) => {
      if (!asked.includes('/manifests/') || count > 2) return undefined;
      return count === 1 ? { status: 429, headers: { 'retry-after': '1' } } : { status: 503 };
    });
    await pull(strata, `${busy.host}/test/app:1`);
    expect(busy.requests.filter(({ path: asked }) => asked.includes('/manifests/'))).toHaveLength(3);
    await using closed = await RegistryProxy.before(registry, (asked) => (asked.includes('/manifests/') ? { status: 403 } : undefined));
    expect(await failure(pull(strata, `${closed.host}/test/app:1`))).toMatchObject({ code: 'REGISTRY_DENIED' });
    expect(closed.requests.filter(({ path: asked }) => asked.includes('/manifests/'))).toHaveLength(1);
    await using limited = await RegistryProxy.before(registry, () => ({ status: 429, headers: { 'retry-after': '3600' } }));
    expect(await failure(pull(strata, `${limited.host}/test/app:1`))).toMatchObject({
      code: 'REGISTRY_FAILED',
      hint: expect.stringMatching(/log in/) as string,
    });
  });

  it.each([
    ['changed', (bytes: Buffer) => bytes.fill(0x55, 100, 200)],
    ['shorter', (bytes: Buffer) => bytes.subarray(0, 100)],
    ['longer', (bytes: Buffer) => Buffer.concat([bytes, bytes])],
  ])('a blob that is %s than its digest says is refused and not kept', async (_, damage) => {
    const { strata } = context;
    const [, own] = (await manifestOf('test/other')).layers;
    const digest = own?.digest ?? '';
    const file = registry.blob(digest);
    const whole = fs.readFileSync(file);
    fs.writeFileSync(file, damage(Buffer.from(whole)));
    const error = await failure(pull(strata, `${registry.host}/test/other:1`));
    expect(['IMAGE_INVALID', 'ARCHIVE_CORRUPT', 'REGISTRY_FAILED', 'REGISTRY_UNREACHABLE']).toContain(error.code);
    expect((await strata.connection.request('image.list', {})).images).toHaveLength(1);
    fs.writeFileSync(file, whole);
    await pull(strata, `${registry.host}/test/other:1`);
    expect(await strata.sh('cat /other/hello', { image: `${registry.host}/test/other:1` })).toBe('hello from other\n');
  });
});

describe('a pull that is cut off', () => {
  /** A pull whose large blob stands still after a part of it came; how much of it is here. */
  async function halfPulled(strata: Strata, act: (abort: AbortController, done: Promise<unknown>) => Promise<void>): Promise<void> {
    const [, large] = (await manifestOf('test/large')).layers;
    const digest = large?.digest ?? '';
    let isHeld = true;
    await using proxy = await RegistryProxy.before(registry, (asked, count) => {
      if (!asked.endsWith(digest) || !isHeld) return undefined;
      return count === 1 ? { cutAfter: 2_000_000 } : { hold: new Promise(() => {}) };
    });
    const abort = new AbortController();
    const done = pull(strata, `${proxy.host}/test/large:1`, {}, abort.signal).catch((error: unknown) => error);
    const partial = path.join(strata.place.root, 'partial', digest.slice(7));
    await until(() => proxy.asked(digest).length === 2, 'the rest to be asked for');
    const { size } = fs.statSync(partial);
    expect(size).toBeGreaterThan(0);
    await act(abort, done);
    expect((await strata.connection.request('image.list', {})).images).toHaveLength(1);
    expect(fs.statSync(partial).size).toBe(size);
    isHeld = false;
    await pull(strata, `${proxy.host}/test/large:1`);
    expect(proxy.asked(digest).at(-1)?.range).toBe(`bytes=${size}-`);
    expect(await strata.sh('wc -c < /large/data', { image: `${proxy.host}/test/large:1` })).toBe('8388608\n');
    expect(partials(strata)).toEqual([]);
  }

  it('by the person goes on where it was', async () => {
    const { strata } = context;
    await halfPulled(strata, async (abort, done) => {
      abort.abort();
      expect(await done).toMatchObject({ code: 'CANCELLED' });
    });
  });

  it('by a crash of the helper, too', async () => {
    const { strata } = context;
    await halfPulled(strata, async () => {
      await strata.helper.crash();
      await strata.restart();
    });
  });
});

describe('a registry that asks who one is', () => {
  it('gets what the person logged in with', async () => {
    const { strata } = context;
    await using closed = await Registry.start(workspace, { login: ['me', 'secret'] });
    await closed.push(path.join(workspace, 'layout'), 'app', 'test/app:1');
    const reference = `${closed.host}/test/app:1`;
    expect(await failure(pull(strata, reference))).toMatchObject({
      code: 'REGISTRY_DENIED',
      hint: expect.stringMatching(/docker login/) as string,
    });
    expect(await failure(pull(strata, reference, { credentials: { kind: 'password', username: 'me', password: 'wrong' } }))).toMatchObject({
      code: 'REGISTRY_DENIED',
      message: expect.stringMatching(/does not take these credentials/) as string,
    });
    await pull(strata, reference, { credentials: { kind: 'password', username: 'me', password: 'secret' } });
  });
});

describe('a registry with a token service', () => {
  it('gets a token for what was logged in with, of either kind', async () => {
    const { strata } = context;
    await using tokens = await TokenService.start(workspace, ['me', 'secret'], 'identity');
    await using closed = await Registry.start(workspace, { login: ['me', 'secret'], configuration: tokens.configuration });
    await closed.push(path.join(workspace, 'layout'), 'app', 'test/app:1');
    const reference = `${closed.host}/test/app:1`;
    tokens.asked.length = 0;
    expect(await failure(pull(strata, reference))).toMatchObject({ code: 'REGISTRY_DENIED' });
    await pull(strata, reference, { credentials: { kind: 'password', username: 'me', password: 'secret' } });
    await strata.forgetImages();
    await pull(strata, reference, { credentials: { kind: 'identityToken', token: 'identity' } });
    // One token serves the whole pull.
    expect(tokens.asked).toEqual(['GET', 'GET', 'POST']);
  });

  it('through the command line as docker login left it', async () => {
    const { strata } = context;
    await using closed = await Registry.start(workspace, { login: ['me', 'secret'] });
    await closed.push(path.join(workspace, 'layout'), 'app', 'test/app:1');
    const directory = path.join(workspace, 'docker');
    fs.mkdirSync(directory);
    const auth = Buffer.from('me:secret').toString('base64');
    fs.writeFileSync(path.join(directory, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    const before = process.env['DOCKER_CONFIG'];
    process.env['DOCKER_CONFIG'] = directory;
    try {
      expect(await strata.cli(['pull', '-q', `${closed.host}/test/app:1`])).toMatchObject({ status: 0, stderr: '' });
    } finally {
      if (before === undefined) delete process.env['DOCKER_CONFIG'];
      else process.env['DOCKER_CONFIG'] = before;
    }
  });
});

describe('certificates', () => {
  it('of an authority that the settings name are taken, others are not', async () => {
    const { strata } = context;
    const authority = new TestAuthority(workspace);
    await using secure = await Registry.start(workspace, { tls: authority });
    await secure.push(path.join(workspace, 'layout'), 'app', 'test/app:1');
    // 127.0.0.1 would be believed without any.
    const host = secure.host.replace('127.0.0.1', '127.1');
    const settings = path.join(strata.place.directory, 'registries.json');
    const certificates = path.join(strata.place.directory, 'certs.d');
    await strata.helper.stop();
    await strata.restart(['--registries', settings]);
    const stranger = await failure(pull(strata, `${host}/test/app:1`));
    expect(stranger).toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: expect.stringMatching(/certificate/) as string });
    fs.writeFileSync(settings, JSON.stringify({ certificates: [certificates] }));
    fs.mkdirSync(path.join(certificates, host), { recursive: true });
    fs.copyFileSync(authority.certificate, path.join(certificates, host, 'ca.crt'));
    await pull(strata, `${host}/test/app:1`);
    fs.writeFileSync(settings, JSON.stringify({ certificates: [], insecure: [host] }));
    await pull(strata, `${host}/test/app:1`);
    fs.writeFileSync(settings, '{"insecure": 1}');
    expect(await failure(pull(strata, `${host}/test/app:1`))).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(settings) as string,
    });
  });

  it('and a mirror is asked first, and the registry itself for what it lacks', async () => {
    const { strata } = context;
    await using mirror = await RegistryProxy.before(registry, (asked) => (asked.includes('/test/other/') ? { status: 404 } : undefined));
    await using itself = await RegistryProxy.before(registry, () => undefined);
    const settings = path.join(strata.place.directory, 'mirrors.json');
    fs.writeFileSync(settings, JSON.stringify({ mirrors: { [itself.host]: ['http://127.0.0.1:1', `http://${mirror.host}`] } }));
    await strata.helper.stop();
    await strata.restart(['--registries', settings]);
    const credentials = { kind: 'password', username: 'me', password: 'secret' } as const;
    await pull(strata, `${itself.host}/test/app:1`, { credentials });
    expect(itself.requests).toEqual([]);
    await pull(strata, `${itself.host}/test/other:1`, { credentials });
    expect(itself.requests).not.toEqual([]);
    expect(mirror.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
  });
});

describe('a disk that is full', () => {
  it('is named, and what runs goes on', async () => {
    const store = new LoopStore(16);
    const place = { ...makePlace(), root: path.join(store.directory, 'root') };
    const helper = await HelperProcess.start(place);
    const connection = await helper.connect();
    try {
      const error = await failure(connection.request('image.pull', { reference: `${registry.host}/test/large:1` }));
      expect(error).toMatchObject({ code: 'NO_SPACE' });
      expect((await connection.request('image.list', {})).images).toHaveLength(1);
    } finally {
      connection.close();
      await helper.stop();
      expect(leftovers(place)).toMatchObject({ mounts: [], cgroups: [], processes: [] });
      removeCgroupParent(place);
      store[Symbol.dispose]();
      fs.rmSync(place.directory, { recursive: true });
    }
  });
});

describe('strata run', () => {
  it('pulls what is not here, as asked', async () => {
    const { strata } = context;
    const image = `${registry.host}/test/app:1`;
    expect(await strata.cli(['run', '--rm', '--pull', 'never', image])).toMatchObject({
      status: 125,
      stderr: expect.stringMatching(/there is no image/) as string,
    });
    expect(await strata.cli(['run', '--rm', image])).toMatchObject({
      status: 0,
      stdout: 'hello from app\n',
      stderr: expect.stringMatching(/: pulled, /) as string,
    });
    expect(await strata.cli(['run', '--rm', image])).toMatchObject({ status: 0, stdout: 'hello from app\n', stderr: '' });
    expect(await strata.cli(['pull', image, `${registry.host}/test/none`])).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/) as string,
      stderr: expect.stringMatching(/has no image test\/none:latest/) as string,
    });
  });
});
