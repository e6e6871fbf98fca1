import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isatty } from 'node:tty';
import { StrataError } from '../protocol/index.ts';
import { UsageError } from './values.ts';

/** An archive on the standard input. */
export function stdinBytes(): AsyncIterable<Uint8Array> {
  if (isatty(0)) throw new UsageError('there is no archive on the standard input, but a terminal');
  return process.stdin as AsyncIterable<Buffer>; // without an encoding it gives buffers
}

/** A file of this host; "-" is the standard input. Throws PATH_NOT_FOUND. */
export async function* fileBytes(source: string): AsyncGenerator<Uint8Array> {
  try {
    yield* source === '-' ? stdinBytes() : (createReadStream(source) as AsyncIterable<Buffer>); // without an encoding it gives buffers
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new StrataError('PATH_NOT_FOUND', `cannot read ${source}: ${error instanceof Error ? error.message : ''}`, {
      hint: 'Name a file that you may read, or - for the standard input.',
    });
  }
}

/** Before an archive is asked for. */
export function refuseTerminal(instead: string): void {
  if (isatty(1)) throw new UsageError(`an archive is nothing for a terminal: give ${instead}, or send it to another program`);
}

export async function toStdout(bytes: AsyncIterable<Uint8Array>): Promise<void> {
  await pipeline(Readable.from(bytes), process.stdout, { end: false });
}
