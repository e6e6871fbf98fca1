import { Readable } from 'node:stream';
import { type Digest, StrataError } from '../../protocol/index.ts';
import type { Scopes } from './authorizations.ts';
import type { RequestBody } from './http.ts';
import { passingAfterMs, RegistryRefusal } from './refusal.ts';
import type { RegistryClient } from './registryClient.ts';
import { Retries } from './retries.ts';
import { completion, receivedBytes, sessionAfter, smallerChunk, type UploadSession } from './uploadSession.ts';

/** A blob that is here. */
export interface BlobSource {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Its bytes from `start` to before `end`. */
  open(start: number, end: number): Readable;
}

export interface UploadOptions {
  /** Repositories of the same registry that may have the blob: it gives it to the one that we push to without our sending it. */
  readonly mountFrom: readonly string[];
  readonly signal: AbortSignal;
  /** Called when the registry wants bytes, and then with how many it was sent. */
  readonly onProgress: (bytes: number) => void;
}

/** How the registry came to have a blob. */
export type BlobArrival = 'present' | 'mounted' | 'uploaded';

/** Smaller blobs go in one request: what is lost when it breaks is soon sent again. */
const wholeBytes = 8 * 1024 * 1024;
/** A registry reads the whole blob again before it says that it has it. */
const completionIdleMs = 10 * 60_000;
/** The upload is not there any more, or not as we think. */
const lostStatuses = new Set([404, 416]);
const lostCodes = new Set(['BLOB_UPLOAD_UNKNOWN', 'BLOB_UPLOAD_INVALID', 'RANGE_INVALID']);

/** Brings a blob to a registry where it is not there yet, and goes on after a connection that broke with what the registry has of it. */
export async function uploadBlob(
  client: RegistryClient,
  repository: string,
  blob: BlobSource,
  options: UploadOptions,
): Promise<BlobArrival> {
  return await new BlobUpload(client, repository, blob, options).run();
}

/** Scopes of everything that a push asks for. */
export function pushScopes(repository: string): Scopes {
  return [`repository:${repository}:pull,push`];
}

class BlobUpload {
  readonly #client: RegistryClient;
  readonly #repository: string;
  readonly #blob: BlobSource;
  readonly #options: UploadOptions;
  readonly #scopes: Scopes;
  readonly #what: string;
  /** Of one request. */
  #mostBytes = Number.POSITIVE_INFINITY;

  constructor(client: RegistryClient, repository: string, blob: BlobSource, options: UploadOptions) {
    this.#client = client;
    this.#repository = repository;
    this.#blob = blob;
    this.#options = options;
    this.#scopes = pushScopes(repository);
    this.#what = `blob ${blob.digest} of ${repository}`;
  }

  async run(): Promise<BlobArrival> {
    if (await this.#isThere()) return 'present';
    let session = await this.#mount();
    if (session === 'mounted') return session;
    const retries = new Retries(this.#options.signal);
    for (let most = 0; ; ) {
      try {
        await this.#send(session ?? (await this.#start()));
        return 'uploaded';
      } catch (error) {
        if (error instanceof InterruptedUpload) session = error.session;
        else throw error;
        await this.#beforeNextTry(error, retries);
      }
      // It may have arrived, and only the word of it was lost.
      if (await this.#isThere()) return 'uploaded';
      session = await this.#resumed(session);
      if (session !== undefined && session.offset > most) {
        most = session.offset;
        retries.reset();
      }
    }
  }

  /** Throws where there is no use in another. */
  async #beforeNextTry({ cause, session, sentBytes }: InterruptedUpload, retries: Retries): Promise<void> {
    if (!(cause instanceof RegistryRefusal)) return await retries.next(cause);
    if (cause.registryCode === 'DIGEST_INVALID') {
      throw new StrataError('IMAGE_INVALID', `${this.#client.host} says that the ${this.#what} is not what its digest says`, {
        hint: 'It is damaged on disk or was on its way: try again, then pull or load the image anew.',
        cause,
      });
    }
    if (cause.status === 413) {
      const smaller = smallerChunk(sentBytes, session.leastChunkBytes);
      if (smaller === undefined) throw cause;
      this.#mostBytes = smaller;
      return;
    }
    const isLost = lostStatuses.has(cause.status) || lostCodes.has(cause.registryCode);
    await retries.next(cause, isLost ? 0 : passingAfterMs(cause));
  }

  /** Where that cannot be asked, sending it tells why. */
  async #isThere(): Promise<boolean> {
    const { signal } = this.#options;
    const url = this.#client.url(this.#repository, `blobs/${this.#blob.digest}`);
    try {
      (await this.#client.request(url, { method: 'HEAD', scopes: this.#scopes, what: this.#what, signal })).resume();
      return true;
    } catch (error) {
      const isRefused = error instanceof StrataError && (error.code === 'IMAGE_NOT_FOUND' || error.code === 'REGISTRY_DENIED');
      if (isRefused || (error instanceof RegistryRefusal && !error.mayPass)) return false;
      throw error;
    }
  }

  /** A registry that does not find the blob there opens an upload in the same answer. */
  async #mount(): Promise<UploadSession | 'mounted' | undefined> {
    let session: UploadSession | undefined;
    for (const from of this.#options.mountFrom) {
      const query = `?mount=${encodeURIComponent(this.#blob.digest)}&from=${encodeURIComponent(from)}`;
      try {
        const begun = await this.#open(query, [...this.#scopes, `repository:${from}:pull`]);
        if (begun === 'created') return 'mounted';
        session = begun;
      } catch (error) {
        // We may not read there, or it knows no mounts.
        const mayGoOn = error instanceof StrataError && (error.code === 'REGISTRY_DENIED' || error instanceof RegistryRefusal);
        if (!mayGoOn || passingAfterMs(error) !== undefined) throw error;
      }
    }
    return session;
  }

  async #start(): Promise<UploadSession> {
    const begun = await this.#open('', this.#scopes);
    if (begun !== 'created') return begun;
    throw new StrataError('REGISTRY_FAILED', `${this.#client.host} says that it has the ${this.#what} before any of it was sent`);
  }

  async #open(query: string, scopes: Scopes): Promise<UploadSession | 'created'> {
    const { signal } = this.#options;
    const url = this.#client.url(this.#repository, `blobs/uploads/${query}`);
    const answer = await this.#client.request(url, { method: 'POST', scopes, what: this.#what, signal });
    answer.resume();
    if (answer.statusCode === 201) return 'created';
    if (answer.headers.location === undefined) {
      throw new StrataError('REGISTRY_FAILED', `${url.host} does not say where to send the ${this.#what}`);
    }
    return sessionAfter(answer.headers, url, { offset: 0, leastChunkBytes: 1 });
  }

  /** What the registry has by its own word; undefined where it begins anew. */
  async #resumed(session: UploadSession): Promise<UploadSession | undefined> {
    const { signal } = this.#options;
    try {
      const answer = await this.#client.request(session.location, { scopes: this.#scopes, what: this.#what, signal });
      answer.resume();
      const offset = receivedBytes(answer.headers.range) ?? 0;
      if (offset > this.#blob.sizeBytes) return undefined;
      return sessionAfter(answer.headers, session.location, { ...session, offset });
    } catch (error) {
      if (error instanceof RegistryRefusal && !error.mayPass && error.code !== 'REGISTRY_DENIED') return undefined;
      throw error;
    }
  }

  async #send(session: UploadSession): Promise<void> {
    const { sizeBytes, digest } = this.#blob;
    const isWhole = session.offset === 0 && sizeBytes <= Math.min(wholeBytes, this.#mostBytes);
    let at = session;
    while (!isWhole && at.offset < sizeBytes) at = await this.#sendPart(at);
    const rest = isWhole && sizeBytes > 0 ? this.#body(0, sizeBytes) : nothing;
    await this.#ask(at, completion(at.location, digest), { method: 'PUT', body: rest, headers: octets, idleMs: completionIdleMs });
  }

  async #sendPart(session: UploadSession): Promise<UploadSession> {
    const { sizeBytes } = this.#blob;
    const start = session.offset;
    const end = Math.min(sizeBytes, start + Math.max(this.#mostBytes, session.leastChunkBytes));
    const isAll = start === 0 && end === sizeBytes;
    // All in one part is what every registry knows; a range says that more comes, or came before.
    const headers = isAll ? octets : { ...octets, 'content-range': `${start}-${end - 1}` };
    const answer = await this.#ask(session, session.location, { method: 'PATCH', body: this.#body(start, end), headers });
    const offset = end === sizeBytes ? end : (receivedBytes(answer.range) ?? end);
    if (offset <= start || offset > end) {
      throw new StrataError(
        'REGISTRY_FAILED',
        `${this.#client.host} took ${end - start} bytes of the ${this.#what} and says that it has ${offset}`,
      );
    }
    return sessionAfter(answer, session.location, { ...session, offset });
  }

  async #ask(
    session: UploadSession,
    url: URL,
    asked: { method: 'PATCH' | 'PUT'; body: RequestBody; headers: Record<string, string>; idleMs?: number },
  ) {
    const { signal } = this.#options;
    try {
      const answer = await this.#client.requestOnce(url, { ...asked, scopes: this.#scopes, what: this.#what, signal });
      answer.resume();
      return answer.headers;
    } catch (error) {
      if (signal.aborted) throw error;
      throw new InterruptedUpload(session, asked.body.sizeBytes, error);
    }
  }

  #body(start: number, end: number): RequestBody {
    const { onProgress } = this.#options;
    return {
      sizeBytes: end - start,
      open: () => {
        let sent = start;
        onProgress(sent);
        const source = this.#blob.open(start, end);
        source.on('data', (chunk: Buffer) => {
          sent += chunk.byteLength;
          onProgress(sent);
        });
        // Who sends it sets the pace.
        return source.pause();
      },
    };
  }
}

const nothing: RequestBody = { sizeBytes: 0, open: () => Readable.from([]) };
const octets = { 'content-type': 'application/octet-stream' };

/** A request of an upload failed: what of the upload stands, and how much was to be sent. */
class InterruptedUpload extends Error {
  readonly session: UploadSession;
  readonly sentBytes: number;

  constructor(session: UploadSession, sentBytes: number, cause: unknown) {
    super('an upload was interrupted', { cause });
    this.session = session;
    this.sentBytes = sentBytes;
  }
}
