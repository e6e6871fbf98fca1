import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { credentialPlaces, findCredentials } from '../../../helper/credentials/dockerConfig.ts';
import { digestOf } from '../../../helper/images/contentStore.ts';
import { plain } from '../../../helper/images/imageText.ts';
import { parseChallenges } from '../../../helper/images/registry/challenge.ts';
import { RegistrySettings } from '../../../helper/images/registry/registrySettings.ts';
import { remoteName } from '../../../helper/images/registry/remoteName.ts';
import { normalizeReference, progressText } from '../../../helper/protocol/index.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strata-registry-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('remoteName', () => {
  const digest = digestOf('x');
  it.each([
    ['busybox', 'docker.io', 'library/busybox', { kind: 'tag', tag: 'latest' }],
    ['me/app:2', 'docker.io', 'me/app', { kind: 'tag', tag: '2' }],
    ['localhost/app', 'localhost', 'app', { kind: 'tag', tag: 'latest' }],
    ['localhost:5000/a/b:v1', 'localhost:5000', 'a/b', { kind: 'tag', tag: 'v1' }],
    ['quay.io/a/b/c', 'quay.io', 'a/b/c', { kind: 'tag', tag: 'latest' }],
    [`quay.io/a@${digest}`, 'quay.io', 'a', { kind: 'digest', digest }],
  ])('%s', (text, registry, repository, target) => {
    expect(remoteName(normalizeReference(text))).toEqual({ registry, repository, target });
  });
});

describe('parseChallenges', () => {
  it('reads several, with quotes and commas in their parameters', () => {
    expect(parseChallenges('Basic realm="a, \\"b\\"", Bearer realm="https://t/x",service=reg,scope="repository:a:pull,push"')).toEqual([
      { scheme: 'basic', parameters: { realm: 'a, "b"' } },
      { scheme: 'bearer', parameters: { realm: 'https://t/x', service: 'reg', scope: 'repository:a:pull,push' } },
    ]);
    expect(parseChallenges('Negotiate, Basic')).toEqual([
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'basic', parameters: {} },
    ]);
    expect(parseChallenges('')).toEqual([]);
  });

  it('ends with whatever a stranger writes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
        for (const { scheme, parameters } of parseChallenges(`Bearer ${text}`)) {
          expect(`${text.toLowerCase()}bearer`).toContain(scheme);
          expect(Object.getPrototypeOf(parameters)).toBeNull();
        }
      }),
    );
  });
});

describe('the settings of registries', () => {
  const settings = (content?: object): RegistrySettings => {
    const path = join(folder, 'registries.json');
    if (content !== undefined) writeFileSync(path, JSON.stringify(content));
    return new RegistrySettings(path);
  };
  const origins = async (of: RegistrySettings, registry: string): Promise<string[]> =>
    (await of.endpoints(registry)).map(({ origin }) => origin);

  it('are not needed', async () => {
    expect(await origins(settings(), 'docker.io')).toEqual(['https://registry-1.docker.io']);
    expect(await origins(settings(), 'quay.io')).toEqual(['https://quay.io']);
    expect(await origins(settings(), '127.0.0.1:5000')).toEqual(['https://127.0.0.1:5000', 'http://127.0.0.1:5000']);
  });

  it('name mirrors and hosts without certificates', async () => {
    const own = settings({ insecure: ['lab:5000'], mirrors: { 'docker.io': ['https://mirror.example'] } });
    expect(await origins(own, 'docker.io')).toEqual(['https://mirror.example', 'https://registry-1.docker.io']);
    expect(await origins(own, 'lab:5000')).toEqual(['https://lab:5000', 'http://lab:5000']);
    expect((await own.endpoints('docker.io')).map(({ isMirror }) => isMirror)).toEqual([true, false]);
  });

  it('bring the certificates that lie where Docker looks for them', async () => {
    mkdirSync(join(folder, 'certs/lab:5000'), { recursive: true });
    for (const name of ['ca.crt', 'me.cert', 'me.key', 'lonely.cert']) writeFileSync(join(folder, 'certs/lab:5000', name), name);
    const [endpoint] = await settings({ certificates: [join(folder, 'certs')] }).endpoints('lab:5000');
    expect(endpoint?.tls.ca?.at(-1)).toBe('ca.crt');
    expect(endpoint?.tls).toMatchObject({ cert: 'me.cert', key: 'me.key' });
  });

  it.each([{ insecure: 'lab' }, { mirror: {} }, { mirrors: { 'docker.io': ['ftp://x'] } }])('refuse %j', async (content) => {
    await expect(settings(content).endpoints('quay.io')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });
});

describe('what a person logged in with', () => {
  const places = (content: object): { files: string[] } => {
    const file = join(folder, 'config.json');
    writeFileSync(file, JSON.stringify(content));
    return { files: [join(folder, 'absent.json'), file] };
  };
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const me = { kind: 'password', username: 'me', password: 'a:b' };

  it.each([
    ['quay.io', { auths: { 'quay.io': { auth: base64('me:a:b') } } }, me],
    ['quay.io', { auths: { 'https://quay.io': { auth: base64('me:a:b\0\0') } } }, me],
    ['docker.io', { auths: { 'https://index.docker.io/v1/': { auth: base64('me:a:b') } } }, me],
    ['docker.io', { auths: { 'docker.io': { username: 'me', password: 'a:b' } } }, me],
    ['quay.io', { auths: { 'quay.io': { auth: base64('me:'), identitytoken: 'id' } } }, { kind: 'identityToken', token: 'id' }],
    ['quay.io', { auths: { 'docker.io': { auth: base64('me:a:b') } } }, undefined],
    ['quay.io', { auths: { 'quay.io': {} } }, undefined],
    ['quay.io', {}, undefined],
  ])('for %s: %j', async (registry, content, expected) => {
    expect(await findCredentials(registry, places(content))).toEqual(expected);
  });

  describe('with a helper program', () => {
    let before: string | undefined;
    beforeEach(() => {
      before = process.env['PATH'];
      process.env['PATH'] = `${folder}:${before}`;
    });
    afterEach(() => {
      process.env['PATH'] = before;
    });
    const program = (script: string): void =>
      writeFileSync(join(folder, 'docker-credential-test'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

    it('asks it for the registry', async () => {
      program('read server; printf \'{"ServerURL":"%s","Username":"me","Secret":"%s"}\' "$server" "$server"');
      expect(await findCredentials('quay.io', places({ credsStore: 'test' }))).toEqual({
        kind: 'password',
        username: 'me',
        password: 'quay.io',
      });
      expect(await findCredentials('docker.io', places({ credHelpers: { 'docker.io': 'test' } }))).toMatchObject({
        password: 'https://index.docker.io/v1/',
      });
      program('echo \'{"Username":"<token>","Secret":"id"}\'');
      expect(await findCredentials('quay.io', places({ credsStore: 'test' }))).toEqual({ kind: 'identityToken', token: 'id' });
    });

    it('knows that it has none, and says when it fails', async () => {
      program('echo "credentials not found in native keychain"; exit 1');
      expect(await findCredentials('quay.io', places({ credsStore: 'test' }))).toBeUndefined();
      program('echo locked >&2; exit 1');
      const failure = { code: 'REGISTRY_DENIED', message: expect.stringMatching(/docker-credential-test .*quay\.io/) as string };
      await expect(findCredentials('quay.io', places({ credsStore: 'test' }))).rejects.toMatchObject(failure);
      await expect(findCredentials('quay.io', places({ credsStore: '../evil' }))).rejects.toMatchObject({ code: 'REGISTRY_DENIED' });
    });
  });

  it('is looked for where Docker and Podman keep it', () => {
    expect(
      credentialPlaces({ DOCKER_CONFIG: '/d', XDG_RUNTIME_DIR: '/r', XDG_CONFIG_HOME: '/c', REGISTRY_AUTH_FILE: '/own' }).files,
    ).toEqual(['/own', '/d/config.json', '/r/containers/auth.json', '/c/containers/auth.json']);
  });

  it('is an error where the file is damaged', async () => {
    const file = join(folder, 'config.json');
    writeFileSync(file, '{');
    await expect(findCredentials('quay.io', { files: [file] })).rejects.toMatchObject({ message: expect.stringContaining(file) as string });
  });
});

describe('what a registry says', () => {
  it('obeys no terminal and fits a message', () => {
    expect(plain('a\u001b[2J\r\nb\u009b')).toBe('a [2J b');
    expect(plain('x'.repeat(1000))).toHaveLength(300);
  });
});

describe('how far a pull is', () => {
  it('is told in layers and bytes that are still wanted', () => {
    const layer = (state: 'present' | 'done' | 'downloading', doneBytes: number) => ({
      digest: digestOf(state),
      state,
      doneBytes,
      totalBytes: 2_000_000,
    });
    expect(progressText([layer('present', 2_000_000), layer('done', 2_000_000), layer('downloading', 500_000)])).toMatch(
      /^2 of 3 layers, .* of /,
    );
  });
});
