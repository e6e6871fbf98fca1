import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { writeFileDurable, writeFileVolatile } from '../../../helper/store/atomicFile.ts';
import { KeyedMutex } from '../../../helper/store/mutex.ts';
import { type RecordFormat, readRecord, writeRecordDurable, writeRecordVolatile } from '../../../helper/store/record.ts';
import { RootLock } from '../../../helper/store/rootLock.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'strata-store-'));
  path = join(directory, 'record.json');
});
afterEach(() => rmSync(directory, { recursive: true }));

const format: RecordFormat<{ name: string; size: number }> = {
  name: 'test record',
  version: 3,
  schema: z.strictObject({ name: z.string(), size: z.number() }),
  migrations: { 1: ({ title }) => ({ name: title }), 2: (value) => ({ ...value, size: 0 }) },
};

describe('atomic files', () => {
  it('replace the old content and leave nothing beside it', async () => {
    await writeFileDurable(path, 'one');
    writeFileVolatile(path, 'two');
    await writeFileDurable(path, 'three');
    expect(readFileSync(path, 'utf8')).toBe('three');
    expect(readdirSync(directory)).toEqual(['record.json']);
  });
  it('keep the old content when the new cannot be put in place', async () => {
    const occupied = join(directory, 'directory');
    await writeFileDurable(path, 'x');
    await expect(writeFileDurable(join(path, 'below-a-file'), 'y')).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect(() => writeFileVolatile(join(occupied, 'missing'), 'y')).toThrow(/ENOENT/);
    expect(readdirSync(directory)).toEqual(['record.json']);
  });
  it('never show a half to a reader', async () => {
    const contents = ['a'.repeat(200_000), 'b'.repeat(200_000)];
    await writeFileDurable(path, contents[0] ?? '');
    const writing = (async () => {
      for (let turn = 0; turn < 20; turn += 1) await writeFileDurable(path, contents[turn % 2] ?? '');
    })();
    let reading = true;
    void writing.finally(() => {
      reading = false;
    });
    while (reading) {
      expect(contents).toContain(readFileSync(path, 'utf8'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writing;
  });
});

describe('records', () => {
  it('come back as they were written', async () => {
    await writeRecordDurable(path, format, { name: 'a', size: 1 });
    expect(await readRecord(path, format)).toEqual({ name: 'a', size: 1 });
    writeRecordVolatile(path, format, { name: 'b', size: 2 });
    expect(await readRecord(path, format)).toEqual({ name: 'b', size: 2 });
  });
  it('are undefined where there is none', async () => {
    expect(await readRecord(path, format)).toBeUndefined();
  });
  it('are brought up to date step by step', async () => {
    writeFileSync(path, '{"formatVersion":1,"title":"old"}');
    expect(await readRecord(path, format)).toEqual({ name: 'old', size: 0 });
  });
  it.each([
    ['from a newer helper', '{"formatVersion":4,"name":"a","size":1}', /format 4/],
    ['that are no JSON', '{"formatVersion":3', /damaged/],
    ['that are no object', '[]', /damaged/],
    ['that do not fit', '{"formatVersion":3,"name":5}', /damaged/],
  ])('%s are refused', async (_, text, message) => {
    writeFileSync(path, text);
    await expect(readRecord(path, format)).rejects.toThrow(message);
  });
  it('are not written where they could not be read again', async () => {
    await writeRecordDurable(path, format, { name: 'good', size: 1 });
    await expect(writeRecordDurable(path, format, { name: 'bad', size: Number.NaN })).rejects.toThrow(/not valid/);
    expect(() => writeRecordVolatile(path, format, { name: 'bad', size: Number.NaN })).toThrow(/not valid/);
    expect(await readRecord(path, format)).toEqual({ name: 'good', size: 1 });
  });
});

describe('root lock', () => {
  it('is for one at a time', () => {
    const lock = new RootLock(directory, '--root');
    expect(() => new RootLock(directory, '--root')).toThrow(/another helper/);
    lock.release();
    new RootLock(directory, '--root').release();
    expect(readdirSync(directory)).toEqual(['lock']);
  });
  it('that cannot be made is not told as another helper', () => {
    writeFileSync(join(directory, 'lock'), 'no database, but a file of somebody with 512 bytes and more'.repeat(20));
    expect(() => new RootLock(directory, '--root')).toThrow(/cannot lock the directory/);
    expect(() => new RootLock(join(directory, 'missing'), '--root')).toThrow(/cannot lock the directory/);
  });
});

describe('mutex', () => {
  it('takes turns under one key, and none between keys', async () => {
    const mutex = new KeyedMutex<string>();
    const log: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = mutex.run('a', async () => {
      await gate.promise;
      log.push('first');
    });
    const second = mutex.run('a', () => Promise.resolve(log.push('second')));
    await mutex.run('b', () => Promise.resolve(log.push('other')));
    gate.resolve();
    await Promise.all([first, second]);
    expect(log).toEqual(['other', 'first', 'second']);
  });
  it('goes on after a failure', async () => {
    const mutex = new KeyedMutex<string>();
    await expect(mutex.run('a', () => Promise.reject(new Error('x')))).rejects.toThrow('x');
    expect(await mutex.run('a', () => Promise.resolve(1))).toBe(1);
  });
});
