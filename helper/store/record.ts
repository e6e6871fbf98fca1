import { readFile } from 'node:fs/promises';
import type * as z from 'zod';
import { StrataError } from '../protocol/index.ts';
import { writeFileDurable, writeFileVolatile } from './atomicFile.ts';

/** One kind of JSON file. `migrations[n]` turns a version n value into one of version n + 1. */
export interface RecordFormat<T> {
  /** For people: "container record". */
  readonly name: string;
  readonly version: number;
  readonly schema: z.ZodType<T>;
  readonly migrations?: Readonly<Record<number, (value: Record<string, unknown>) => Record<string, unknown>>>;
}

/** What is on disk is no such record. Other errors say nothing about it: it may be a newer helper's, or the disk may fail. */
export class DamagedRecordError extends StrataError {
  constructor(path: string, name: string, cause: unknown) {
    super('INTERNAL', `the ${name} ${path} is damaged`, {
      hint: 'Move the file away and start the helper again; its log says what is wrong in it.',
      details: { path },
      cause,
    });
  }
}

/** The record, brought up to today's version; undefined where there is no such file. */
export async function readRecord<T>(path: string, format: RecordFormat<T>): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return parseRecord(text, path, format);
}

export function parseRecord<T>(text: string, path: string, format: RecordFormat<T>): T {
  let value = parseObject(text, path, format.name);
  let version = value['formatVersion'];
  if (typeof version === 'number' && version > format.version) {
    throw new StrataError('INTERNAL', `the ${format.name} ${path} has format ${version}; this helper knows up to ${format.version}`, {
      hint: 'A newer helper wrote it: start that version again.',
      details: { path, formatVersion: version },
    });
  }
  while (typeof version === 'number' && version < format.version) {
    const migrate = format.migrations?.[version];
    if (migrate === undefined) break;
    version += 1;
    value = { ...migrate(value), formatVersion: version };
  }
  const { formatVersion: _, ...content } = value;
  const parsed = format.schema.safeParse(content);
  if (!parsed.success) throw new DamagedRecordError(path, format.name, parsed.error);
  return parsed.data;
}

export async function writeRecordDurable<T extends object>(path: string, format: RecordFormat<T>, value: T): Promise<void> {
  await writeFileDurable(path, encodeRecord(format, value));
}

export function writeRecordVolatile<T extends object>(path: string, format: RecordFormat<T>, value: T): void {
  writeFileVolatile(path, encodeRecord(format, value));
}

/** The file's text. */
export function encodeRecord<T extends object>(format: RecordFormat<T>, value: T): string {
  // What could not be read again must not be written: the next start would stumble over it.
  const valid = format.schema.safeParse(value);
  if (!valid.success) throw new StrataError('INTERNAL', `this ${format.name} is not valid and was not written`, { cause: valid.error });
  return `${JSON.stringify({ formatVersion: format.version, ...value }, undefined, 1)}\n`;
}

function parseObject(text: string, path: string, name: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DamagedRecordError(path, name, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new DamagedRecordError(path, name, undefined);
  return { ...value };
}
