import type { Addon } from '../../native/addon.ts';
import { fromNative } from '../../native/errors.ts';
import { StrataError } from '../../protocol/index.ts';

/** What tells the formats apart: the longest magic number is that of xz. */
const headBytes = 6;
/** gzip reaches 1032 at most; what shrinks better than that is made to fill disks. */
const maxRatio = 1100;
/** Below this nobody is hurt, and zeros may be packed as well as they can. */
const harmlessBytes = 512 * 1024 ** 2;

/**
 * The bytes of an archive that may be compressed with gzip, zstd or xz, as they come. Throws ARCHIVE_CORRUPT, ARCHIVE_UNSUPPORTED,
 * ARCHIVE_TOO_LARGE for one that unpacks to more than a thousand times its size, or what the source throws.
 */
export async function* inflated(source: AsyncIterable<Uint8Array>, addon: Pick<Addon, 'Inflater'>): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    const head = await firstBytes(chunks);
    const inflater = makeInflater(addon, head);
    if (inflater.compression === 'none') {
      yield head;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
      return;
    }
    let taken = 0;
    let given = 0;
    let input = head;
    for (;;) {
      const { consumed, output } = await run(inflater, input);
      taken += consumed;
      given += output.byteLength;
      if (given > harmlessBytes && given > taken * maxRatio) throw tooLarge();
      input = input.subarray(consumed);
      if (output.byteLength > 0) yield output;
      if (consumed + output.byteLength > 0) continue;
      if (input.byteLength > 0) throw corrupt('its compressed data is damaged');
      const next = await chunks.next();
      if (next.done === true) break;
      input = next.value;
    }
    if (!inflater.atEnd) throw corrupt('its compressed data is cut off');
  } finally {
    await chunks.return?.();
  }
}

type Inflater = InstanceType<Addon['Inflater']>;

async function firstBytes(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head = Buffer.alloc(0);
  while (head.byteLength < headBytes) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

function makeInflater(addon: Pick<Addon, 'Inflater'>, head: Uint8Array): Inflater {
  try {
    return new addon.Inflater(head);
  } catch (error) {
    throw fromNative(error, 'read the archive', codes);
  }
}

async function run(inflater: Inflater, input: Uint8Array): Promise<{ consumed: number; output: Uint8Array }> {
  try {
    return await inflater.run(input);
  } catch (error) {
    throw fromNative(error, 'read the archive', codes);
  }
}

const codes = { UNSUPPORTED: 'ARCHIVE_UNSUPPORTED' } as const;

function corrupt(why: string): StrataError {
  return new StrataError('ARCHIVE_CORRUPT', `the archive cannot be read: ${why}`);
}

function tooLarge(): StrataError {
  return new StrataError('ARCHIVE_TOO_LARGE', `the archive unpacks to more than ${maxRatio} times its size`);
}
