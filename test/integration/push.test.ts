import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { EventParams, EventRecord, MethodResult, Params } from '../../helper/protocol/index.ts';
import { requires } from '../support/requires.ts';
import { distFile } from './support/helperProcess.ts';
import { goArchitecture, ImageLayout, tarOf } from './support/imageLayout.ts';
import { Registry, RegistryProxy, TestAuthority, TokenService } from './support/registry.ts';
import { failure, type Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();
const busybox = fs.readFileSync(distFile('images/busybox.tar'));
const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
const schema2Manifest = 'application/vnd.docker.distribution.manifest.v2+json';

/** Has what others made; each test pushes to an empty one. */
let workspace: string;
let source: Registry;

beforeAll(async () => {
  workspace = fs.mkdtempSync('/tmp/strata-push-');
  source = await Registry.start(workspace);
  const layout = new ImageLayout(path.join(workspace, 'layout'));
  const app = tarOf(workspace, { 'app/hello': 'hello from app\n', 'etc/.wh.group': '' });
  layout.add('app', [busybox, app], { command: ['cat', '/app/hello'] });
  // Random: nothing for gzip to make small.
  layout.add('large', [busybox, tarOf(workspace, { 'large/data': randomBytes(24 * 1024 * 1024) })]);
  layout.addIndex('many', { [goArchitecture()]: [busybox, app], s390x: [busybox] });
  for (const tag of ['app', 'large', 'many']) await source.push(layout.directory, tag, `test/${tag}:1`);
  await source.push(layout.directory, 'app', 'test/schema2:1', ['--format', 'v2s2']);
}, 60_000);

afterEach(() => context.strata.forgetImages());

afterAll(async () => {
  await source[Symbol.asyncDispose]();
  fs.rmSync(workspace, { recursive: true });
});

/** An image of `source` is here under the name of another registry. */
async function bring(strata: Strata, name: string, target: string): Promise<void> {
  const from = `${source.host}/test/${name}:1`;
  await strata.connection.request('image.pull', { reference: from });
  await strata.connection.request('image.tag', { image: from, reference: target });
}

function push(
  strata: Strata,
  reference: string,
  more: Partial<Params<'image.push'>> = {},
  signal?: AbortSignal,
): Promise<MethodResult<'image.push'>> {
  return strata.connection.request('image.push', { reference, ...more }, signal === undefined ? {} : { signal });
}

/** What a registry has by a name; undefined: nothing. */
async function digestIn(host: string, name: string, types = ociManifest): Promise<string | undefined> {
  const [repository, tag] = name.split(':');
  const answer = await fetch(`http://${host}/v2/${repository}/manifests/${tag}`, { headers: { accept: types } });
  await answer.body?.cancel();
  return answer.ok ? (answer.headers.get('docker-content-digest') ?? undefined) : undefined;
}

async function tool(command: string, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(command, args)).stdout;
}

const uploads = (proxy: RegistryProxy) => proxy.requests.filter(({ path: asked }) => asked.includes('/blobs/uploads/'));

describe('push', () => {
  it.each([
    ['app', ociManifest],
    ['schema2', schema2Manifest],
  ])('of an image that was pulled gives it back as it was: %s', async (name, type) => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    const reference = `${registry.host}/there/${name}:2`;
    await bring(strata, name, reference);
    const pushed = await push(strata, reference);
    const digest = await digestIn(source.host, `test/${name}:1`, type);
    expect(pushed).toMatchObject({ reference, digest, sizeBytes: expect.any(Number) as number });
    expect(await digestIn(registry.host, `there/${name}:2`, type)).toBe(digest);
    await strata.forgetImages();
    await strata.connection.request('image.pull', { reference: `${registry.host}/there/${name}@${digest}` });
    expect(await strata.sh('cat /app/hello', { image: `${registry.host}/there/${name}@${digest}` })).toBe('hello from app\n');
  });

  it('of one platform of an index sends the manifest that is here', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    await bring(strata, 'many', `${registry.host}/there/many:1`);
    const { digest } = await push(strata, `${registry.host}/there/many:1`);
    const index = await fetch(`http://${source.host}/v2/test/many/manifests/1`, {
      headers: { accept: 'application/vnd.oci.image.index.v1+json' },
    });
    const { manifests } = (await index.json()) as { manifests: { digest: string; platform: { architecture: string } }[] };
    expect(digest).toBe(manifests.find(({ platform }) => platform.architecture === goArchitecture())?.digest);
    const pinned = `${registry.host}/there/many@${digest}`;
    await strata.connection.request('image.pull', { reference: pinned });
    expect(await push(strata, pinned)).toMatchObject({ digest });
  });

  it('of a root file system that was imported is an image that other tools read', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    const reference = `${registry.host}/made/here:1`;
    const root = path.join(workspace, 'rootfs');
    fs.mkdirSync(path.join(root, 'etc'), { recursive: true });
    fs.writeFileSync(path.join(root, 'etc/motd'), 'made here\n');
    await strata.connection.request('image.import', {
      source: { kind: 'directory', path: root },
      reference,
      command: ['cat', '/etc/motd'],
    });
    const { digest } = await push(strata, reference);
    expect(await push(strata, reference)).toMatchObject({ digest });
    const inspected = JSON.parse(await tool('skopeo', ['inspect', '--tls-verify=false', `docker://${reference}`])) as Record<
      string,
      unknown
    >;
    expect(inspected).toMatchObject({ Digest: digest, Architecture: goArchitecture() });
    const layout = path.join(workspace, 'copied');
    await tool('skopeo', ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false', `docker://${reference}`, `oci:${layout}:1`]);
    const index = JSON.parse(fs.readFileSync(path.join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
    expect(index.manifests.map((manifest) => manifest.digest)).toEqual([digest]);
  });

  requires({ root: true, commands: ['podman'] })('of anything runs where podman has pulled it', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    const reference = `${registry.host}/there/app:1`;
    await bring(strata, 'app', reference);
    await push(strata, reference);
    const places = ['--root', path.join(workspace, 'podman'), '--runroot', path.join(workspace, 'podman-run'), '--storage-driver', 'vfs'];
    const policy = path.join(workspace, 'policy.json');
    fs.writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
    await tool('podman', [...places, 'pull', '--quiet', '--tls-verify=false', '--signature-policy', policy, reference]);
    const digests = await tool('podman', [...places, 'image', 'inspect', '--format', '{{json .RepoDigests}}', reference]);
    expect(digests).toContain(await digestIn(source.host, 'test/app:1'));
    await tool('podman', [...places, 'rmi', '--force', reference]);
  });

  it('sends only what is not there, and tells of each layer', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    await using proxy = await RegistryProxy.before(registry, () => undefined);
    await bring(strata, 'app', `${proxy.host}/there/app:1`);
    await bring(strata, 'large', `${proxy.host}/there/app:2`);
    await push(strata, `${proxy.host}/there/app:1`);
    const first = uploads(proxy).length;
    const told: EventParams<'image.transferring'>[] = [];
    const stop = strata.connection.onEvent((event, params) => {
      if (event === 'image.transferring') told.push(params as EventParams<'image.transferring'>); // of this event
    });
    await push(strata, `${proxy.host}/there/app:2`, { progress: 9 });
    stop();
    expect(told.at(-1)?.layers.map(({ state, doneBytes, totalBytes }) => [state, doneBytes === totalBytes])).toEqual([
      ['present', true],
      ['done', true],
    ]);
    expect(told.every(({ progress }) => progress === 9)).toBe(true);
    expect(told.some(({ layers }) => layers.some(({ state }) => state === 'uploading'))).toBe(true);
    const second = uploads(proxy).length;
    expect(first).toBeGreaterThan(0);
    expect(second).toBeGreaterThan(first);
    await push(strata, `${proxy.host}/there/app:2`);
    expect(uploads(proxy)).toHaveLength(second);
    const manifests = proxy.requests.filter(({ path: asked }) => asked.includes('/manifests/'));
    expect(manifests.map(({ method, status }) => [method, status])).toEqual([
      ['PUT', 201],
      ['PUT', 201],
      ['PUT', 201],
    ]);
    const { stdout } = await strata.cli(['events', '--since', '0', '--until', 'now', '-f', 'event=push', '--format', 'json']);
    const last = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as EventRecord;
    expect(last.actor.name).toBe(`${proxy.host}/there/app:2`);
  });

  it('lets the registry take layers from another of its repositories', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    await using proxy = await RegistryProxy.before(registry, () => undefined);
    await bring(strata, 'app', `${proxy.host}/first/app:1`);
    await strata.connection.request('image.tag', { image: `${proxy.host}/first/app:1`, reference: `${proxy.host}/second/app:1` });
    await push(strata, `${proxy.host}/first/app:1`);
    proxy.requests.length = 0;
    const { digest } = await push(strata, `${proxy.host}/second/app:1`);
    const mounts = uploads(proxy).filter(({ path: asked }) => asked.includes('mount='));
    expect(mounts.map(({ method, status }) => [method, status])).toEqual([
      ['POST', 201],
      ['POST', 201],
    ]);
    expect(mounts.every(({ path: asked }) => asked.endsWith('from=first%2Fapp'))).toBe(true);
    expect(await digestIn(registry.host, 'second/app:1')).toBe(digest);
  });

  it('twice at once sends each blob once', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    await using proxy = await RegistryProxy.before(registry, () => undefined);
    const reference = `${proxy.host}/there/large:1`;
    await bring(strata, 'large', reference);
    const [one, two] = await Promise.all([push(strata, reference), push(strata, reference)]);
    expect(one.digest).toBe(two.digest);
    // The config and two layers.
    expect(uploads(proxy).filter(({ method }) => method === 'POST')).toHaveLength(3);
  });

  it('says what it cannot send', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    expect(await failure(push(strata, `${registry.host}/there/nothing:1`))).toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      message: expect.stringContaining('there/nothing:1') as string,
      hint: expect.stringContaining('strata tag') as string,
    });
    await bring(strata, 'app', '127.0.0.1:1/there:1');
    const error = await failure(push(strata, '127.0.0.1:1/there:1'));
    expect(error).toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: expect.stringMatching(/127\.0\.0\.1:1\/there:1/) as string });
    expect(await failure(push(strata, 'No such name'))).toMatchObject({ code: 'REFERENCE_INVALID' });
  });
});

describe('a registry with troubles', () => {
  it('that breaks a connection gets the rest, or all anew where it kept nothing', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    let cuts = 0;
    await using proxy = await RegistryProxy.before(registry, (_, __, method) => {
      if (method !== 'PATCH' || cuts === 2) return undefined;
      cuts += 1;
      return { cutRequestAfter: 3_000_000 };
    });
    const reference = `${proxy.host}/there/large:1`;
    await bring(strata, 'large', reference);
    const { digest } = await push(strata, reference);
    expect(cuts).toBe(2);
    expect(await digestIn(registry.host, 'there/large:1')).toBe(digest);
  });

  it('is asked again where that may help, and not where it cannot', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    const failed = new Map<string, number>();
    await using busy = await RegistryProxy.before(registry, (_, __, method) => {
      const count = (failed.get(method) ?? 0) + 1;
      failed.set(method, count);
      if (method === 'POST' && count === 1) return { status: 429, headers: { 'retry-after': '1' } };
      return method === 'PUT' && count === 1 ? { status: 503 } : undefined;
    });
    await bring(strata, 'app', `${busy.host}/there/app:1`);
    await push(strata, `${busy.host}/there/app:1`);
    const body = '{"errors":[{"code":"DENIED","message":"not\\u001b[31m you"}]}';
    await using closed = await RegistryProxy.before(registry, (_, __, method) => (method === 'POST' ? { status: 403, body } : undefined));
    await bring(strata, 'app', `${closed.host}/elsewhere/app:1`);
    const denied = await failure(push(strata, `${closed.host}/elsewhere/app:1`));
    expect(denied).toMatchObject({
      code: 'REGISTRY_DENIED',
      message: expect.stringMatching(/elsewhere\/app:1: .* 403 for blob sha256:[0-9a-f]{64} of elsewhere\/app: not \[31m you$/) as string,
    });
    expect(closed.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
    await using readOnly = await RegistryProxy.before(registry, (_, __, method) => (method === 'PUT' ? { status: 405 } : undefined));
    await bring(strata, 'app', `${readOnly.host}/elsewhere/app:1`);
    expect(await failure(push(strata, `${readOnly.host}/elsewhere/app:1`))).toMatchObject({
      code: 'REGISTRY_FAILED',
      hint: expect.stringMatching(/read-only/) as string,
    });
    expect(await digestIn(registry.host, 'elsewhere/app:1')).toBeUndefined();
  });

  it('that takes no large parts gets small ones', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    let parts = 0;
    await using proxy = await RegistryProxy.before(registry, (_, __, method) => {
      if (method !== 'PATCH') return undefined;
      parts += 1;
      return parts === 1 ? { status: 413 } : undefined;
    });
    const reference = `${proxy.host}/there/large:1`;
    await bring(strata, 'large', reference);
    const { digest } = await push(strata, reference);
    // One of 24 MiB, then 16 and the rest.
    expect(parts).toBe(3);
    expect(await digestIn(registry.host, 'there/large:1')).toBe(digest);
  });
});

describe('a push that is cut off', () => {
  async function halfPushed(strata: Strata, act: (abort: AbortController, done: Promise<unknown>) => Promise<void>): Promise<void> {
    await using registry = await Registry.start(workspace);
    let isHeld = true;
    await using proxy = await RegistryProxy.before(registry, (_, __, method) =>
      isHeld && method === 'PATCH' ? { hold: new Promise(() => {}) } : undefined,
    );
    const reference = `${proxy.host}/there/large:1`;
    await bring(strata, 'large', reference);
    const abort = new AbortController();
    const done = push(strata, reference, {}, abort.signal).catch((error: unknown) => error);
    await until(() => proxy.requests.filter(({ method, status }) => method === 'PUT' && status === 201).length === 2, 'the small blobs');
    await until(() => proxy.requests.some(({ method }) => method === 'PATCH'), 'the large blob');
    await act(abort, done);
    expect(await digestIn(registry.host, 'there/large:1')).toBeUndefined();
    isHeld = false;
    proxy.requests.length = 0;
    const { digest } = await push(strata, reference);
    expect(uploads(proxy).filter(({ method }) => method === 'POST')).toHaveLength(1);
    expect(await digestIn(registry.host, 'there/large:1')).toBe(digest);
  }

  it('by the person shows nothing of it, and goes on with what is missing', async () => {
    const { strata } = context;
    await halfPushed(strata, async (abort, done) => {
      abort.abort();
      expect(await done).toMatchObject({ code: 'CANCELLED' });
    });
  });

  it('by a crash of the helper, too', async () => {
    const { strata } = context;
    await halfPushed(strata, async () => {
      await strata.helper.crash();
      await strata.restart();
    });
  });
});

describe('a registry that asks who one is', () => {
  const credentials = { kind: 'password', username: 'me', password: 'secret' } as const;

  it('gets what the person logged in with', async () => {
    const { strata } = context;
    await using closed = await Registry.start(workspace, { login: ['me', 'secret'] });
    const reference = `${closed.host}/there/app:1`;
    await bring(strata, 'app', reference);
    expect(await failure(push(strata, reference))).toMatchObject({
      code: 'REGISTRY_DENIED',
      message: expect.stringContaining(reference) as string,
      hint: expect.stringMatching(/docker login/) as string,
    });
    expect(await failure(push(strata, reference, { credentials: { ...credentials, password: 'wrong' } }))).toMatchObject({
      code: 'REGISTRY_DENIED',
      message: expect.stringMatching(/does not take these credentials/) as string,
    });
    await push(strata, reference, { credentials });
    expect(await tool('skopeo', ['inspect', '--tls-verify=false', '--creds', 'me:secret', `docker://${reference}`])).toContain('"Digest"');
  });

  it('with tokens is asked for one a repository, and for one more to take layers from another', async () => {
    const { strata } = context;
    await using tokens = await TokenService.start(workspace, ['me', 'secret'], 'identity');
    await using closed = await Registry.start(workspace, { login: ['me', 'secret'], configuration: tokens.configuration });
    await bring(strata, 'app', `${closed.host}/first/app:1`);
    await strata.connection.request('image.tag', { image: `${closed.host}/first/app:1`, reference: `${closed.host}/second/app:1` });
    await push(strata, `${closed.host}/first/app:1`, { credentials });
    expect(tokens.asked).toEqual(['GET']);
    tokens.asked.length = 0;
    const { digest } = await push(strata, `${closed.host}/second/app:1`, { credentials: { kind: 'identityToken', token: 'identity' } });
    expect(tokens.asked).toEqual(['POST', 'POST']);
    expect(digest).toBe(await digestIn(source.host, 'test/app:1'));
  });
});

describe('settings of the host', () => {
  it('tell whose certificates are taken, and a mirror is never pushed to', async () => {
    const { strata } = context;
    const authority = new TestAuthority(workspace);
    await using secure = await Registry.start(workspace, { tls: authority });
    await using mirror = await RegistryProxy.before(source, () => undefined);
    // 127.0.0.1 would be believed without any.
    const host = secure.host.replace('127.0.0.1', '127.1');
    const settings = path.join(strata.place.directory, 'registries.json');
    const certificates = path.join(strata.place.directory, 'certs.d');
    fs.mkdirSync(path.join(certificates, host), { recursive: true });
    await strata.helper.stop();
    await strata.restart(['--registries', settings]);
    fs.writeFileSync(settings, JSON.stringify({ certificates: [certificates], mirrors: { [host]: [`http://${mirror.host}`] } }));
    await bring(strata, 'large', `${host}/there/large:1`);
    const stranger = await failure(push(strata, `${host}/there/large:1`));
    expect(stranger).toMatchObject({ code: 'REGISTRY_UNREACHABLE', message: expect.stringMatching(/certificate/) as string });
    fs.copyFileSync(authority.certificate, path.join(certificates, host, 'ca.crt'));
    await push(strata, `${host}/there/large:1`);
    expect(mirror.requests).toEqual([]);
  });
});

describe('strata push', () => {
  it('tells the digest, how far it is, and what went wrong', async () => {
    const { strata } = context;
    await using registry = await Registry.start(workspace);
    const repository = `${registry.host}/there/app`;
    await bring(strata, 'app', `${repository}:1`);
    await bring(strata, 'large', `${repository}:2`);
    const first = await strata.cli(['push', `${repository}:1`]);
    expect(first).toMatchObject({
      status: 0,
      stdout: `${await digestIn(registry.host, 'there/app:1')}\n`,
      stderr: expect.stringMatching(/^(?:[0-9a-f]{12}: pushed, .*\n){2}$/) as string,
    });
    expect(await strata.cli(['push', '-q', '--all-tags', repository])).toMatchObject({
      status: 0,
      stdout: `${await digestIn(registry.host, 'there/app:1')}\n${await digestIn(registry.host, 'there/app:2')}\n`,
      stderr: '',
    });
    const json = await strata.cli(['push', '--json', `${repository}:2`]);
    expect(JSON.parse(json.stdout)).toEqual([
      { reference: `${repository}:2`, digest: await digestIn(registry.host, 'there/app:2'), sizeBytes: expect.any(Number) as number },
    ]);
    expect(json.stderr).toMatch(/there already/);
    expect(await strata.cli(['push', `${registry.host}/no/such`])).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(/there is no image ".*\/no\/such:latest" here to push/) as string,
    });
  });
});
