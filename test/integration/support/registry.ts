import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import * as path from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { until } from './strata.ts';

export interface RegistryOptions {
  /** Name and password that it asks for. */
  readonly login?: readonly [name: string, password: string];
  /** Serves https with a certificate of this authority. */
  readonly tls?: TestAuthority;
  /** More of its configuration, in YAML. */
  readonly configuration?: string;
}

/** Debian's docker-registry on a port of the loopback, with its storage in a directory of the test. */
export class Registry implements AsyncDisposable {
  readonly host: string;
  readonly #child: ChildProcess;
  readonly #others: ChildProcess[] = [];
  readonly #directory: string;
  readonly #login: RegistryOptions['login'];

  private constructor(host: string, child: ChildProcess, directory: string, login: RegistryOptions['login']) {
    this.host = host;
    this.#child = child;
    this.#directory = directory;
    this.#login = login;
  }

  static async start(workspace: string, options: RegistryOptions = {}): Promise<Registry> {
    const directory = fs.mkdtempSync(path.join(workspace, 'registry-'));
    const port = await freePort();
    const lines = ['version: 0.1', 'log: {level: warn}', 'storage:', `  filesystem: {rootdirectory: ${directory}/storage}`];
    lines.push('http:', `  addr: 127.0.0.1:${port}`);
    if (options.tls !== undefined) {
      const { certificate, key } = options.tls.issue(directory);
      lines.push(`  tls: {certificate: ${certificate}, key: ${key}}`);
    }
    if (options.login !== undefined && options.configuration === undefined) {
      fs.writeFileSync(`${directory}/htpasswd`, htpasswd(...options.login));
      lines.push('auth:', `  htpasswd: {realm: test, path: ${directory}/htpasswd}`);
    }
    if (options.configuration !== undefined) lines.push(options.configuration);
    fs.writeFileSync(`${directory}/config.yml`, `${lines.join('\n')}\n`);
    const child = spawn('docker-registry', ['serve', `${directory}/config.yml`], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the registry ended:\n${said}`);
      return accepts(port);
    }, 'the registry');
    return new Registry(`127.0.0.1:${port}`, child, directory, options.login);
  }

  /** Pushes an image of an OCI layout; `options` are skopeo's. */
  async push(layout: string, tag: string, name: string, options: readonly string[] = []): Promise<void> {
    const login = this.#login === undefined ? [] : ['--dest-creds', this.#login.join(':')];
    await promisify(execFile)('skopeo', [
      ...['--insecure-policy', 'copy', '--quiet', '--all', '--dest-tls-verify=false', ...login, ...options],
      ...[`oci:${layout}:${tag}`, `docker://${this.host}/${name}`],
    ]);
  }

  /** The file that holds a blob, for tests that damage it. */
  blob(digest: string): string {
    const hex = digest.slice('sha256:'.length);
    return `${this.#directory}/storage/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
  }

  /** Serves the same under the same address in another network namespace, too: `inNetwork` makes the words that run a command there. */
  async alsoIn(inNetwork: (...words: readonly string[]) => readonly string[]): Promise<void> {
    const [command = '', ...args] = inNetwork('docker-registry', 'serve', `${this.#directory}/config.yml`);
    const child = spawn(command, args, { stdio: 'ignore' });
    this.#others.push(child);
    const port = Number(this.host.split(':')[1]);
    // As the kernel writes it (proc_pid_net(5)): the address, and the state LISTEN.
    const listening = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} 0+:0000 0A`);
    await until(() => listening.test(fs.readFileSync(`/proc/${child.pid}/net/tcp`, 'utf8')), 'the registry in its other network');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of [this.#child, ...this.#others]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
}

/** A certificate authority that nobody knows but those who are given its certificate. */
export class TestAuthority {
  readonly certificate: string;
  readonly key: string;
  readonly #directory: string;

  constructor(workspace: string) {
    this.#directory = fs.mkdtempSync(path.join(workspace, 'authority-'));
    this.certificate = `${this.#directory}/ca.crt`;
    this.key = `${this.#directory}/ca.key`;
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=test authority',
      '-keyout',
      this.key,
      '-out',
      this.certificate,
    );
  }

  /** For 127.0.0.1. */
  issue(directory: string): { certificate: string; key: string } {
    const [certificate, key, request, extensions] = ['server.crt', 'server.key', 'server.csr', 'server.ext'].map(
      (name) => `${directory}/${name}`,
    ) as [string, string, string, string]; // four names, four paths
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=127.0.0.1',
      '-keyout',
      key,
      '-out',
      request,
    );
    fs.writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1\n');
    openssl(
      'x509',
      '-req',
      '-days',
      '2',
      '-in',
      request,
      '-CA',
      this.certificate,
      '-CAkey',
      this.key,
      '-CAcreateserial',
      '-extfile',
      extensions,
      '-out',
      certificate,
    );
    return { certificate, key };
  }
}

/**
 * distribution's token service: tells who one is by name and password or by an identity token, and gives signed tokens for what
 * was asked for.
 */
export class TokenService implements AsyncDisposable {
  /** For the registry's configuration. */
  readonly configuration: string;
  /** How each token was asked for. */
  readonly asked: string[] = [];
  readonly #server: http.Server;

  private constructor(server: http.Server, configuration: string) {
    this.#server = server;
    this.configuration = configuration;
  }

  static async start(workspace: string, login: readonly [string, string], identityToken: string): Promise<TokenService> {
    const { certificate, key } = new TestAuthority(workspace);
    const server = http.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo; // it listens on a port
    const realm = `http://127.0.0.1:${port}/token`;
    const service = new TokenService(
      server,
      `auth:\n  token: {realm: "${realm}", service: test, issuer: test, rootcertbundle: ${certificate}}`,
    );
    const basic = `Basic ${Buffer.from(login.join(':')).toString('base64')}`;
    server.on('request', (request, response) => {
      service.asked.push(request.method ?? '');
      void text(request).then((body) => {
        const form = new URLSearchParams(body);
        const isKnown = request.headers.authorization === basic || form.get('refresh_token') === identityToken;
        if (!isKnown) {
          response.writeHead(401).end();
          return;
        }
        const scopes = [...new URL(request.url ?? '', realm).searchParams.getAll('scope'), ...(form.get('scope')?.split(' ') ?? [])];
        response.end(JSON.stringify({ token: signToken(scopes, certificate, key) }));
      });
    });
    return service;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function signToken(scopes: readonly string[], certificate: string, key: string): string {
  const access = scopes.map((scope) => {
    const [type, name, actions] = scope.split(':');
    return { type, name, actions: actions?.split(',') };
  });
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: 'test', sub: 'me', aud: 'test', exp: now + 300, nbf: now - 10, iat: now, jti: String(now), access };
  const x5c = [new X509Certificate(fs.readFileSync(certificate)).raw.toString('base64')];
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ typ: 'JWT', alg: 'ES256', x5c })}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(text), { key: fs.readFileSync(key), dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

/**
 * What a test does to a request and its answer on their way: an answer in its place, a body of the answer or of the request that breaks off after so many
 * bytes, or an answer that waits.
 */
export type Disturbance =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  | { readonly cutAfter: number }
  | { readonly cutRequestAfter: number }
  | { readonly hold: Promise<void> };

/** Stands in front of a registry, notes what is asked, and disturbs what it is told to. */
export class RegistryProxy implements AsyncDisposable {
  readonly requests: {
    readonly method: string;
    readonly path: string;
    readonly range: string | undefined;
    readonly authorization: string | undefined;
    /** Of the answer, once it is there. */
    status?: number | undefined;
  }[] = [];
  readonly host: string;
  readonly #server: http.Server;

  private constructor(server: http.Server, host: string) {
    this.#server = server;
    this.host = host;
  }

  static async before(
    registry: Pick<Registry, 'host'>,
    disturb: (path: string, count: number, method: string) => Disturbance | undefined,
  ): Promise<RegistryProxy> {
    const server = http.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo; // it listens on a port
    const proxy = new RegistryProxy(server, `127.0.0.1:${port}`);
    const counts = new Map<string, number>();
    server.on('request', (request, response) => {
      const { url = '', method = '', headers } = request;
      const asked: RegistryProxy['requests'][number] = { method, path: url, range: headers.range, authorization: headers.authorization };
      proxy.requests.push(asked);
      const count = (counts.get(url) ?? 0) + 1;
      counts.set(url, count);
      const disturbance = disturb(url, count, method);
      if (disturbance !== undefined && 'status' in disturbance) {
        asked.status = disturbance.status;
        response.writeHead(disturbance.status, disturbance.headers).end(disturbance.body);
        return;
      }
      // With the name that it was asked by, which is in the places that the registry sends uploads to.
      const target = http.request(`http://${registry.host}${url}`, { method, headers }, (answer) => {
        asked.status = answer.statusCode;
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        if (disturbance === undefined || 'cutRequestAfter' in disturbance) answer.pipe(response);
        else if ('hold' in disturbance) void disturbance.hold.then(() => answer.pipe(response));
        else cutOff(answer, response, disturbance.cutAfter);
      });
      target.on('error', () => response.destroy());
      if (disturbance !== undefined && 'cutRequestAfter' in disturbance) cutOffRequest(request, target, disturbance.cutRequestAfter);
      else request.pipe(target);
    });
    return proxy;
  }

  /** Of blobs with this digest, those that were asked for. */
  asked(digest: string): readonly { readonly range: string | undefined }[] {
    return this.requests.filter(({ path: asked }) => asked.endsWith(`/blobs/${digest}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function cutOff(answer: http.IncomingMessage, response: http.ServerResponse, bytes: number): void {
  let left = bytes;
  answer.on('data', (chunk: Buffer) => {
    if (left <= 0) return;
    const part = chunk.subarray(0, left);
    left -= part.byteLength;
    response.write(part, () => {
      if (left === 0) response.destroy();
    });
  });
}

function cutOffRequest(request: http.IncomingMessage, target: http.ClientRequest, bytes: number): void {
  let left = bytes;
  request.on('data', (chunk: Buffer) => {
    if (left <= 0) return;
    const part = chunk.subarray(0, left);
    left -= part.byteLength;
    target.write(part, () => {
      if (left > 0) return;
      target.destroy();
      request.destroy();
    });
  });
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo; // it listens on a port
  server.close();
  await once(server, 'close');
  return port;
}

async function accepts(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function htpasswd(name: string, password: string): string {
  const script = 'import crypt, sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))';
  const hash = execFileSync('python3', ['-W', 'ignore', '-c', script, password], { encoding: 'utf8' }).trim();
  // The registry knows the prefix of Apache's tool alone; it is the same function.
  return `${name}:${hash.replace('$2b$', '$2y$')}\n`;
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
