import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import type * as net from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { type BlobArrival, type BlobSource, uploadBlob } from '../../../helper/images/registry/blobUpload.ts';
import { RegistryClient } from '../../../helper/images/registry/registryClient.ts';
import { digestSchema, type RegistryCredentials } from '../../../helper/protocol/index.ts';

const mebibyte = 1024 * 1024;

/** Uploads as distribution-spec has them, with what an upload has received kept when its connection breaks. */
class ResumableRegistry {
  readonly asked: string[] = [];
  readonly authorizations: (string | undefined)[] = [];
  readonly blobs: Buffer[] = [];
  /** Of one request; a larger one is refused before it was read. */
  mostBytes = Number.POSITIVE_INFINITY;
  /** Breaks this many connections, each after so many bytes. */
  breaks: number[] = [];
  leastBytes: number | undefined;
  /** Where uploads go on; absent: here. */
  uploadsAt = '';
  readonly #parts: Buffer[] = [];
  #received = 0;
  readonly #server = http.createServer((request, response) => void this.#answer(request, response));

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`; // it listens on a port
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const range = headers['content-range'] === undefined ? '' : ` ${headers['content-range']}`;
    this.asked.push(`${method}${range}`);
    this.authorizations.push(headers.authorization);
    const upload = {
      location: `${this.uploadsAt}/upload/1?state=${this.#received}`,
      range: `0-${Math.max(0, this.#received - 1)}`,
      ...(this.leastBytes === undefined ? {} : { 'oci-chunk-min-length': String(this.leastBytes) }),
    };
    if (method === 'HEAD') return void response.writeHead(404).end();
    if (method === 'POST') return void response.writeHead(202, upload).end();
    if (method === 'GET') return void response.writeHead(204, upload).end();
    if (Number(headers['content-length']) > this.mostBytes) return void response.writeHead(413, { connection: 'close' }).end();
    const before = this.#received;
    const breakAfter = Number(headers['content-length']) === 0 ? undefined : this.breaks.shift();
    for await (const chunk of request) {
      const part = (chunk as Buffer).subarray(0, breakAfter === undefined ? undefined : breakAfter - (this.#received - before));
      this.#parts.push(part);
      this.#received += part.byteLength;
      if (breakAfter !== this.#received - before) continue;
      request.socket.destroy();
      return;
    }
    const location = `${this.uploadsAt}/upload/1?state=${this.#received}`;
    if (method === 'PATCH') return void response.writeHead(202, { location, range: `0-${this.#received - 1}` }).end();
    const digest = new URL(url, 'http://here').searchParams.get('digest');
    const blob = Buffer.concat(this.#parts);
    const isRight = digest === `sha256:${createHash('sha256').update(blob).digest('hex')}`;
    if (!isRight) return void response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID"}]}');
    this.blobs.push(blob);
    response.writeHead(201).end();
  }
}

const registries: ResumableRegistry[] = [];
afterEach(() => {
  for (const registry of registries.splice(0)) registry.close();
});

function registry(change: Partial<Pick<ResumableRegistry, 'mostBytes' | 'breaks' | 'leastBytes' | 'uploadsAt'>> = {}): ResumableRegistry {
  const made = Object.assign(new ResumableRegistry(), change);
  registries.push(made);
  return made;
}

function blobOf(bytes: Buffer): BlobSource {
  const digest = digestSchema.parse(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
  return {
    digest,
    sizeBytes: bytes.byteLength,
    open: (start, end) => Readable.from(pieces(bytes.subarray(start, end))),
  };
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.byteLength; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

async function upload(
  origin: string,
  blob: BlobSource,
  credentials?: RegistryCredentials,
): Promise<{ arrival: BlobArrival; told: number[] }> {
  const client = new RegistryClient({ origin, tls: {}, isMirror: false }, credentials);
  const told: number[] = [];
  try {
    const options = { mountFrom: [], signal: new AbortController().signal, onProgress: (bytes: number) => told.push(bytes) };
    return { arrival: await uploadBlob(client, 'app', blob, options), told };
  } finally {
    client.close();
  }
}

/** toEqual would compare millions of numbers one by one. */
function holds({ blobs }: ResumableRegistry, bytes: Buffer): boolean {
  return blobs.length === 1 && blobs[0]?.equals(bytes) === true;
}

describe('a blob that is uploaded', () => {
  it('goes in one request where it is small, and in two else', async () => {
    const there = registry();
    const origin = await there.listen();
    const small = randomBytes(mebibyte);
    expect(await upload(origin, blobOf(small))).toMatchObject({ arrival: 'uploaded' });
    expect(there.asked).toEqual(['HEAD', 'POST', 'PUT']);
    expect(holds(there, small)).toBe(true);
    const other = registry();
    const large = randomBytes(9 * mebibyte);
    const { told } = await upload(await other.listen(), blobOf(large));
    expect(other.asked).toEqual(['HEAD', 'POST', 'PATCH', 'PUT']);
    expect(holds(other, large)).toBe(true);
    expect(told.at(-1)).toBe(large.byteLength);
  });

  it('goes on with what the registry has after a connection that broke', async () => {
    const there = registry({ breaks: [3_000_000, 2_000_000] });
    const large = randomBytes(9 * mebibyte);
    const { told } = await upload(await there.listen(), blobOf(large));
    const last = large.byteLength - 1;
    const expected = ['HEAD', 'POST', 'PATCH', 'HEAD', 'GET', `PATCH 3000000-${last}`, 'HEAD', 'GET', `PATCH 5000000-${last}`, 'PUT'];
    expect(there.asked).toEqual(expected);
    expect(holds(there, large)).toBe(true);
    expect(told).toContain(5_000_000);
  });

  it('is cut in parts that the registry takes, none smaller than it wants', async () => {
    const there = registry({ mostBytes: 5 * mebibyte });
    const large = randomBytes(9 * mebibyte);
    await upload(await there.listen(), blobOf(large));
    const part = 4 * mebibyte;
    expect(there.asked.filter((asked) => asked.startsWith('PATCH '))).toEqual([
      `PATCH 0-${part - 1}`,
      `PATCH ${part}-${2 * part - 1}`,
      `PATCH ${2 * part}-${large.byteLength - 1}`,
    ]);
    expect(holds(there, large)).toBe(true);
    const stubborn = registry({ mostBytes: 5 * mebibyte, leastBytes: 6 * mebibyte });
    await expect(upload(await stubborn.listen(), blobOf(large))).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
      message: expect.stringMatching(/413 for blob sha256:[0-9a-f]{64} of app/) as string,
    });
  });

  it('that is not what its digest says is named', async () => {
    const there = registry();
    const blob = { ...blobOf(randomBytes(1000)), digest: digestSchema.parse(`sha256:${'a'.repeat(64)}`) };
    await expect(upload(await there.listen(), blob)).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
      message: expect.stringContaining(blob.digest) as string,
    });
  });

  it('takes no password to where else the registry sends it', async () => {
    const storage = registry();
    const at = await storage.listen();
    const there = registry({ uploadsAt: at });
    const bytes = randomBytes(1000);
    await upload(await there.listen(), blobOf(bytes), { kind: 'password', username: 'me', password: 'secret' });
    expect(there.asked).toEqual(['HEAD', 'POST']);
    expect(storage.asked).toEqual(['PUT']);
    expect(storage.authorizations).toEqual([undefined]);
    expect(holds(storage, bytes)).toBe(true);
  });
});
