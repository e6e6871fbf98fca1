import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { importArchive } from '../../../extension/client/archiveUpload.ts';
import type { HelperClient } from '../../../extension/client/helperClient.ts';
import { type Channel, StrataError } from '../../../helper/protocol/index.ts';
import { image } from './samples.ts';

/** The helper's end of an upload: the import is answered when the stream ends or is closed. */
class FakeHelper {
  received = '';
  refusal: StrataError | undefined;
  readonly #abort = new AbortController();
  readonly #over = Promise.withResolvers<StrataError | undefined>();

  get client(): Pick<HelperClient, 'request' | 'stream'> {
    const stream = {
      signal: this.#abort.signal,
      consume: () => {},
      write: (_channel: Channel, bytes: Uint8Array) => {
        this.received += new TextDecoder().decode(bytes);
        if (this.refusal === undefined) return Promise.resolve();
        this.#abort.abort();
        this.#over.resolve(this.refusal);
        return Promise.reject(new StrataError('STREAM_NOT_FOUND', 'stream 1 is closed'));
      },
      end: () => this.#over.resolve(undefined),
      close: (error?: StrataError) => this.#over.resolve(error),
    };
    const request = async (method: string) => {
      if (method === 'image.openUpload') return { stream: 1 };
      const error = await this.#over.promise;
      if (error !== undefined) throw error;
      return { image: image('a', ['tiny:latest']) };
    };
    return { request, stream: () => stream } as unknown as HelperClient; // the two that an upload uses
  }
}

let directory: string;
let helper: FakeHelper;
const signal = new AbortController().signal;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'strata-upload-'));
  helper = new FakeHelper();
});
afterEach(() => rmSync(directory, { recursive: true }));

it('sends a file and gives the image', async () => {
  const path = join(directory, 'tiny.tar');
  writeFileSync(path, 'the bytes');
  expect((await importArchive(helper.client, { path, reference: 'tiny' }, signal)).references).toEqual(['tiny:latest']);
  expect(helper.received).toBe('the bytes');
});

it.each([
  ['is not there', 'missing.tar', /cannot read .*missing\.tar: ENOENT/],
  ['is a directory', '.', /cannot read .*EISDIR/],
])('says so when the file %s, and not that it was cancelled', async (_what, name, message) => {
  const failed = importArchive(helper.client, { path: join(directory, name), reference: 'tiny' }, signal);
  await expect(failed).rejects.toMatchObject({ code: 'PATH_NOT_FOUND', message: expect.stringMatching(message) as string });
});

it("gives the helper's own reason when it refuses the bytes", async () => {
  const path = join(directory, 'tiny.tar');
  writeFileSync(path, 'no archive');
  helper.refusal = new StrataError('ARCHIVE_CORRUPT', 'this is no archive');
  await expect(importArchive(helper.client, { path }, signal)).rejects.toBe(helper.refusal);
});
