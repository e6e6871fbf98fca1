import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  Channel,
  type EventLine,
  type EventName,
  type EventPosition,
  type EventRecord,
  eventLineSchema,
  eventRecordSchema,
  type Params,
} from '../../helper/protocol/index.ts';
import type { Connection } from '../../helper/wire/connection.ts';
import { LoopStore } from '../bench/store.ts';
import { clearPlace } from '../soak/place.ts';
import { TightDisk } from '../soak/tightDisk.ts';
import { distFile, HelperProcess, makePlace } from './support/helperProcess.ts';
import { leftovers, openDescriptors } from './support/leaks.ts';
import { collect, failure, Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();

/** The lines of a stream of events, as they come. */
class Listening {
  readonly lines: EventLine[] = [];
  readonly closed: Promise<void>;
  readonly at: EventPosition;

  private constructor(connection: Connection, { stream, at }: { stream: number; at: EventPosition }) {
    this.at = at;
    let rest = '';
    this.closed = new Promise((resolve, reject) => {
      connection.stream(stream).consume({
        data: (channel, bytes) => {
          expect(channel).toBe(Channel.bytes);
          const lines = (rest + Buffer.from(bytes).toString()).split('\n');
          rest = lines.pop() ?? '';
          this.lines.push(...lines.map((line) => eventLineSchema.parse(JSON.parse(line))));
        },
        closed: (error) => (error === undefined ? resolve() : reject(error)),
      });
    });
    this.closed.catch(() => {}); // who waits for it hears of it
  }

  static async open(connection: Connection, request: Params<'events.stream'> = {}): Promise<Listening> {
    return new Listening(connection, await connection.request('events.stream', request));
  }

  get events(): EventRecord[] {
    return this.lines.flatMap((line) => ('gap' in line ? [] : line));
  }

  get gaps(): EventLine[] {
    return this.lines.filter((line) => 'gap' in line);
  }

  actionsOf(id: string): string[] {
    return this.events.filter(({ actor }) => actor.id === id).map(({ action }) => action);
  }

  async until(action: string, id: string): Promise<EventRecord> {
    const find = (): EventRecord | undefined => this.events.find((event) => event.action === action && event.actor.id === id);
    await until(() => find() !== undefined, `the event ${action}`);
    const found = find();
    if (found === undefined) throw new Error('it was there a moment ago');
    return found;
  }
}

/** What has happened up to now, after a place or from a time on. */
async function past(strata: Strata, since: NonNullable<Params<'events.stream'>['since']>): Promise<Listening> {
  const listening = await Listening.open(strata.connection, { since, untilMs: Date.now() });
  await listening.closed;
  return listening;
}

function expectWhole({ events, gaps }: Listening): void {
  expect(gaps).toEqual([]);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => (events[0]?.seq ?? 0) + index));
}

const followers: ChildProcess[] = [];
afterEach(() => {
  for (const child of followers.splice(0)) child.kill('SIGKILL');
});

interface Follower {
  readonly child: ChildProcess;
  readonly events: EventRecord[];
  stderr: string;
}

function follow(strata: Strata, args: readonly string[]): Follower {
  const child = spawn(process.execPath, [distFile('cli.cjs'), '--socket', strata.place.socketPath, 'events', '--json', ...args]);
  followers.push(child);
  const follower: Follower = { child, events: [], stderr: '' };
  let rest = '';
  child.stdout.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes.toString()).split('\n');
    rest = lines.pop() ?? '';
    follower.events.push(...lines.map((line) => eventRecordSchema.parse(JSON.parse(line))));
  });
  child.stderr.on('data', (bytes: Buffer) => (follower.stderr += bytes.toString()));
  return follower;
}

const parsed = (stdout: string): EventRecord[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => eventRecordSchema.parse(JSON.parse(line)));

describe('the life of a container', () => {
  it('is told in order, in Docker’s words, without a gap', async () => {
    const { strata } = context;
    const { connection } = strata;
    const listening = await Listening.open(connection);
    const labels = { app: 'shop' };
    const { id } = await connection.request('container.create', {
      options: { image: 'busybox', name: 'life', command: ['sleep', '1000'], labels },
    });
    await connection.request('container.start', { container: id });
    await connection.request('container.pause', { container: id });
    await connection.request('container.resume', { container: id });
    await connection.request('container.rename', { container: id, name: 'other-life' });
    await connection.request('container.update', { container: id, limits: { pidsMax: 50 } });
    await strata.exec(id, ['sh', '-c', 'exit 3']);
    await connection.request('container.kill', { container: id, signal: 'SIGKILL' });
    await listening.until('die', id);
    await connection.request('container.restart', { container: id });
    await connection.request('container.stop', { container: id, graceMs: 0 });
    await strata.remove(id);
    await listening.until('destroy', id);
    expect(listening.actionsOf(id)).toEqual([
      ...['create', 'start', 'pause', 'unpause', 'rename', 'update', 'exec_create', 'exec_start', 'exec_die', 'kill', 'die'],
      ...['start', 'restart', 'kill', 'kill', 'die', 'stop', 'destroy'],
    ]);
    expectWhole(listening);
    expect(new Set(listening.events.map(({ epoch }) => epoch))).toEqual(new Set([listening.at.epoch]));
    const of = (action: string) => listening.events.find((event) => event.action === action && event.actor.id === id);
    expect(of('create')).toMatchObject({ type: 'container', actor: { name: 'life', image: 'busybox:latest', labels } });
    expect(of('rename')?.actor).toMatchObject({ name: 'other-life', attributes: { oldName: 'life' } });
    expect(of('exec_create')?.actor.attributes['command']).toBe("sh -c 'exit 3'");
    expect(of('exec_die')?.actor.attributes).toEqual({ execId: of('exec_start')?.actor.attributes['execId'], exitCode: '3' });
    expect(of('kill')?.actor.attributes).toEqual({ signal: 'SIGKILL' });
    expect(of('die')?.actor.attributes).toMatchObject({ exitCode: '137', signal: 'SIGKILL' });
  });

  it('is told when it has its own end, and of what removes itself', async () => {
    const { strata } = context;
    const listening = await Listening.open(strata.connection);
    const { id } = await strata.run({ command: ['sh', '-c', 'exit 7'] });
    const die = await listening.until('die', id);
    expect(listening.actionsOf(id)).toEqual(['create', 'start', 'die']);
    expect(die.actor.attributes).toMatchObject({ exitCode: '7', reason: 'exited with status 7' });
    // Durable before it is told.
    const written = JSON.parse(fs.readFileSync(`${strata.place.root}/containers/${id}/exit.json`, 'utf8')) as { finishedAt: string };
    expect(written.finishedAt).toBe(die.actor.attributes['finishedAt']);
    const brief = await strata.connection.request('container.run', {
      options: { image: 'busybox', command: ['true'], autoRemove: true },
    });
    await listening.until('destroy', brief.id);
    expect(listening.actionsOf(brief.id)).toEqual(['create', 'start', 'die', 'destroy']);
  });

  it('is told of one that ran out of memory', async () => {
    const { strata } = context;
    const listening = await Listening.open(strata.connection, { filters: { event: ['oom', 'die'] } });
    const { id } = await strata.run({
      command: ['sh', '-c', 'x=$(head -c 100m /dev/zero | tail -c 90m)'],
      limits: { memoryMaxBytes: 16 << 20, memorySwapMaxBytes: 16 << 20 },
    });
    await listening.until('die', id);
    expect(listening.actionsOf(id)).toEqual(['oom', 'die']);
  });

  it('is told of who joins it and leaves it', async () => {
    const { strata } = context;
    const id = await strata.start();
    const listening = await Listening.open(strata.connection, { filters: { container: [id] } });
    const { stream } = await strata.connection.request('container.attach', { container: id });
    const output = collect(strata.connection.stream(stream));
    strata.connection.stream(stream).close();
    await output;
    await listening.until('detach', id);
    expect(listening.actionsOf(id)).toEqual(['attach', 'detach']);
  });

  it('is told of what is copied into it and out of it', async () => {
    const { strata } = context;
    const id = await strata.start();
    const listening = await Listening.open(strata.connection, { filters: { container: [id] } });
    const file = `${strata.place.directory}/told`;
    fs.writeFileSync(file, 'told');
    expect(await strata.cli(['cp', file, `${id}:/tmp`])).toMatchObject({ status: 0 });
    expect((await strata.cli(['cp', `${id}:/nowhere`, '-'])).status).toBe(1);
    expect((await strata.cli(['cp', `${id}:/tmp/told`, '-'])).stdout).toContain('told');
    expect(await strata.cli(['export', '-o', `${file}.tar`, id])).toMatchObject({ status: 0 });
    await listening.until('export', id);
    const told = listening.events.map(({ action, actor }) => [action, actor.attributes['path']]);
    expect(told).toEqual([
      ['extract-to-dir', '/tmp'],
      ['archive-path', '/tmp/told'],
      ['export', undefined],
    ]);
  });
});

describe('images', () => {
  it('are told as they come, get other names and go', async () => {
    const { strata } = context;
    const listening = await Listening.open(strata.connection, { filters: { type: ['image'] } });
    const directory = fs.mkdtempSync(`${strata.place.directory}/rootfs-`);
    fs.mkdirSync(`${directory}/etc`);
    const source = { kind: 'directory', path: directory } as const;
    const { image } = await strata.connection.request('image.import', { source, reference: 'told:1' });
    await strata.connection.request('image.remove', { image: 'told:1' });
    await listening.until('delete', image.id);
    expect(listening.actionsOf(image.id)).toEqual(['import', 'untag', 'delete']);
    expect(listening.events[0]?.actor).toMatchObject({ id: image.id, name: image.references[0] });
  });
});

describe('filters', () => {
  it('leave out what is not asked for', async () => {
    const { strata } = context;
    const wanted = await Listening.open(strata.connection, { filters: { label: ['app=shop'], event: ['die', 'create'] } });
    const all = await Listening.open(strata.connection);
    const other = await strata.run({ command: ['true'], labels: { app: 'other' } });
    const shop = await strata.run({ command: ['true'], labels: { app: 'shop' } });
    await all.until('die', shop.id);
    await wanted.until('die', shop.id);
    expect(all.actionsOf(other.id)).toContain('die');
    expect(wanted.events.map(({ action, actor }) => [action, actor.id])).toEqual([
      ['create', shop.id],
      ['die', shop.id],
    ]);
  });

  it('that nobody knows are refused, and so is a place in the future', async () => {
    const { connection } = context.strata;
    const filters = { colour: ['red'] } as Params<'events.stream'>['filters'];
    expect((await failure(Listening.open(connection, { filters }))).code).toBe('INVALID_REQUEST');
    const { epoch, seq } = await connection.request('events.subscribe', {});
    const since = { kind: 'position', epoch, seq: seq + 1000 } as const;
    expect((await failure(Listening.open(connection, { since }))).code).toBe('INVALID_REQUEST');
  });
});

/** The messages of a connection that tell how the state changed. */
function stateMessages(connection: Connection): { event: EventName; seq: number; id: string }[] {
  const seen: { event: EventName; seq: number; id: string }[] = [];
  connection.onEvent((event, params) => {
    if (!('seq' in params)) return;
    const id = 'id' in params ? params.id : 'container' in params ? params.container.id : params.image.id;
    seen.push({ event, seq: params.seq, id });
  });
  return seen;
}

describe('a client that comes back', () => {
  it('is told the events since its last, once and in order, and goes on with those to come', async () => {
    const { strata } = context;
    const first = await strata.helper.connect();
    const { epoch, seq } = await first.request('events.subscribe', {});
    first.close();
    const missed = await strata.run({ command: ['true'] });
    const second = await strata.helper.connect();
    const seen = stateMessages(second);
    const answer = await second.request('events.resume', { epoch, seq });
    const later = await strata.start();
    await until(() => seen.some(({ id }) => id === later), 'the later one');
    second.close();
    const of = (id: string) => seen.filter((message) => message.id === id).map(({ event }) => event);
    expect(of(missed.id)).toEqual(['container.changed', 'container.exited']);
    expect(of(later)).toEqual(['container.changed']);
    expect(seen.map((message) => message.seq)).toEqual([...new Set(seen.map((message) => message.seq))].sort((a, b) => a - b));
    expect(seen[0]?.seq).toBeGreaterThan(seq);
    expect(answer.seq).toBeGreaterThanOrEqual(seen[1]?.seq ?? 0);
    expect(seen.at(-1)?.seq).toBeGreaterThan(answer.seq);
  });

  it('is told to take a snapshot where it knew another helper, or comes too late', async () => {
    const { strata } = context;
    const { connection } = strata;
    const { epoch, seq } = await connection.request('events.subscribe', {});
    const gone = async (position: EventPosition) => (await failure(connection.request('events.resume', position))).code;
    expect(await gone({ epoch: 'f'.repeat(16), seq })).toBe('EVENTS_GONE');
    expect(await gone({ epoch, seq: seq + 1000 })).toBe('EVENTS_GONE');
    const id = await strata.start();
    for (let count = 0; count < 2100; count += 1) await connection.request('container.kill', { container: id, signal: 'SIGWINCH' });
    expect(await gone({ epoch, seq })).toBe('EVENTS_GONE');
    // The stream has them all the same: they are on disk.
    const all = await past(strata, { kind: 'position', epoch, seq });
    expectWhole(all);
    expect(all.actionsOf(id).length).toBe(2102);
  });
});

describe('a slow reader', () => {
  it('holds nobody up, and gets everything when it reads on', async () => {
    const { strata } = context;
    const slow = await strata.helper.connect();
    const { stream } = await slow.request('events.stream', {});
    const go = Promise.withResolvers<void>();
    let bytes = 0;
    let lines = 0;
    slow.stream(stream).consume({
      data: async (_, chunk) => {
        await go.promise;
        bytes += chunk.byteLength;
        lines += Buffer.from(chunk).toString().split('\n').length - 1;
      },
    });
    const labels = Object.fromEntries(['a', 'b', 'c', 'd'].map((key) => [key, key.repeat(4000)]));
    const id = await strata.start({ labels });
    const count = 300;
    for (let index = 0; index < count; index += 1) await strata.connection.request('container.kill', { container: id, signal: 'SIGWINCH' });
    go.resolve();
    await until(() => lines >= count + 2, 'every line');
    expect(bytes).toBeGreaterThan(count * 16_000);
    expect(lines).toBe(count + 2);
    slow.close();
  });

  it('that goes in the midst of it leaves nothing open', async () => {
    const { strata } = context;
    const opened = (): number => openDescriptors(strata.helper.pid).filter((target) => target.includes('/events/')).length;
    const before = opened();
    const slow = await strata.helper.connect();
    for (let count = 0; count < 5; count += 1) {
      const { stream } = await slow.request('events.stream', { since: { kind: 'time', timeMs: 0 } });
      const first = Promise.withResolvers<void>();
      const never = new Promise<void>(() => {});
      slow.stream(stream).consume({
        data: async () => {
          first.resolve();
          await never;
        },
      });
      await first.promise;
    }
    await until(() => opened() > before, 'the files to be read');
    slow.close();
    await until(() => opened() === before, 'the files to be closed');
    expect(opened()).toBe(before);
  });
});

describe('a full disk', () => {
  it('stops nobody: who listens hears all, and who comes later that some are missing', async () => {
    const store = new LoopStore(64);
    const place = { ...makePlace(), root: path.join(store.directory, 'root') };
    const helper = await HelperProcess.start(place);
    const own = new Strata(helper, await helper.connect());
    try {
      const listening = await Listening.open(own.connection);
      const id = await own.start();
      await listening.until('start', id);
      const signal = async (count: number): Promise<void> => {
        const before = listening.actionsOf(id).length;
        for (let index = 0; index < count; index += 1)
          await own.connection.request('container.kill', { container: id, signal: 'SIGWINCH' });
        await until(() => listening.actionsOf(id).length === before + count, 'all of them');
      };
      const disk = new TightDisk(store.directory);
      disk.squeeze(0);
      // More than the block holds that the file has begun.
      await signal(100);
      disk.relieve();
      // What was freed the file system gives out a little later.
      const lastSeq = (): number => listening.events.at(-1)?.seq ?? 0;
      await until(async () => {
        await signal(1);
        return fs.readFileSync(path.join(place.root, 'events/00000001.jsonl'), 'utf8').includes(`"seq":${lastSeq()},`);
      }, 'an event on the disk');
      expectWhole(listening);
      const last = lastSeq();
      await own.helper.crash();
      await own.restart();
      const found = await past(own, { kind: 'position', ...listening.at });
      expect(found.gaps).toHaveLength(1);
      const written = found.events.filter((event) => event.seq <= last).map((event) => event.seq);
      expect(written.at(-1)).toBe(last);
      expect(written.length).toBeLessThan(last - listening.at.seq);
      const { seq } = await own.connection.request('events.subscribe', {});
      expect(seq).toBeGreaterThan(last);
      expect(own.helper.log).not.toMatch(/unexpected error/);
    } finally {
      own.connection.close();
      await clearPlace(place);
      store[Symbol.dispose]();
      fs.rmSync(place.directory, { recursive: true });
    }
  });
});

describe('a helper that was killed', () => {
  it('is followed by one whose events go on, with what happened in between', async () => {
    const { strata } = context;
    const before = await Listening.open(strata.connection);
    const ends = await strata.start({ command: ['sh', '-c', 'while [ ! -e /end ]; do sleep 0.05; done; exit 9'] });
    const stays = await strata.start();
    const brief = await strata.start({ command: ['sh', '-c', 'while [ ! -e /end ]; do sleep 0.05; done'], autoRemove: true });
    const done = await strata.run({ command: ['true'] });
    await before.until('die', done.id);
    const position = { kind: 'position', epoch: before.at.epoch, seq: before.events.at(-1)?.seq ?? 0 } as const;
    await strata.helper.crash();
    for (const id of [ends, brief]) {
      const pid = (JSON.parse(fs.readFileSync(`${strata.place.run}/containers/${id}/started.json`, 'utf8')) as { pid: number }).pid;
      fs.writeFileSync(`/proc/${pid}/root/end`, '');
    }
    await until(() => fs.existsSync(`${strata.place.root}/containers/${ends}/exit.json`), 'its exit to be written');
    await until(() => fs.existsSync(`${strata.place.root}/containers/${brief}/exit.json`), 'the exit of the other');
    await strata.restart();
    const after = await past(strata, position);
    expectWhole(after);
    expect(after.events[0]).toMatchObject({ seq: position.seq + 1, type: 'helper', action: 'start' });
    expect(after.events[0]?.epoch).not.toBe(position.epoch);
    expect(after.actionsOf(ends)).toEqual(['die']);
    expect(after.events.find(({ actor }) => actor.id === ends)?.actor.attributes).toMatchObject({ exitCode: '9' });
    expect(after.actionsOf(brief)).toEqual(['die', 'destroy']);
    expect(after.actionsOf(stays)).toEqual([]);
    expect(after.actionsOf(done.id)).toEqual([]);
    // The past is all there.
    const all = await past(strata, { kind: 'time', timeMs: 0 });
    expectWhole(all);
    expect(all.events[0]?.seq).toBe(1);
    expect(all.actionsOf(done.id)).toEqual(['create', 'start', 'die']);
  });

  it('is followed by one that tells how exec sessions ended meanwhile', async () => {
    const { strata } = context;
    const listening = await Listening.open(strata.connection);
    const script = 'while [ ! -e /end ]; do sleep 0.05; done; exit 5';
    const stays = await strata.start();
    const ends = await strata.start({ command: ['sh', '-c', script] });
    const begun: string[] = [];
    for (const container of [stays, ends]) {
      const asked = await strata.connection.request('container.exec', { container, command: ['sh', '-c', script], detach: true });
      begun.push(asked.exec);
      await listening.until('exec_start', container);
    }
    const directory = `${strata.place.root}/events`;
    const isWritten = (text: string): boolean =>
      fs.readdirSync(directory).some((name) => fs.readFileSync(`${directory}/${name}`, 'utf8').includes(text));
    await until(() => begun.every(isWritten), 'the events on the disk');
    const position = { kind: 'position', epoch: listening.at.epoch, seq: listening.events.at(-1)?.seq ?? 0 } as const;
    await strata.helper.crash();
    for (const id of [stays, ends]) {
      const { pid } = JSON.parse(fs.readFileSync(`${strata.place.run}/containers/${id}/started.json`, 'utf8')) as { pid: number };
      fs.writeFileSync(`/proc/${pid}/root/end`, '');
    }
    await until(() => !fs.existsSync(`${strata.place.run}/containers/${ends}/state.json`), 'the end of the container');
    const [first = '', second = ''] = begun;
    await until(() => !leftovers(strata.place).processes.some((line) => line.includes('exit 5')), 'the end of the sessions');
    await strata.restart();
    const missed = await past(strata, position);
    const told = (id: string): unknown[] =>
      missed.events
        .filter(({ actor }) => actor.id === id)
        .map(({ action, actor: { attributes } }) => [action, attributes['execId'], attributes['exitCode']]);
    expect(told(stays)).toEqual([['exec_die', first, '5']]);
    expect(told(ends)).toEqual([
      ['exec_die', second, undefined],
      ['die', undefined, '5'],
    ]);
    const refused = await failure(strata.connection.request('exec.kill', { session: first }));
    expect(refused).toMatchObject({ code: 'EXEC_NOT_RUNNING', details: { code: 5 } });
    // Once.
    await strata.helper.crash();
    await strata.restart();
    expect((await past(strata, position)).events.filter(({ action }) => action === 'exec_die')).toHaveLength(2);
  });

  it('again and again, is followed from the command line without an event lost or told twice', async () => {
    const { strata } = context;
    const follower = follow(strata, ['--since', '0']);
    const { child, events } = follower;
    const ended = once(child, 'close');
    const ids: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      ids.push(await strata.start({ name: `round-${round}` }));
      await until(() => events.some(({ actor }) => actor.name === `round-${round}`), 'its event');
      await strata.helper.crash();
      await strata.restart();
    }
    const last = await strata.run({ command: ['true'] });
    await until(() => events.some(({ action, actor }) => action === 'die' && actor.id === last.id), 'the last event');
    child.kill('SIGINT');
    expect(await ended).toEqual([null, 'SIGINT']);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect(new Set(events.map(({ epoch }) => epoch)).size).toBeGreaterThanOrEqual(4);
    for (const id of ids) expect(events.filter(({ actor }) => actor.id === id).map(({ action }) => action)).toEqual(['create', 'start']);
    expect(follower.stderr.match(/the helper has gone/g)).toHaveLength(3);
  });
});

describe('a helper that is killed at any moment', () => {
  it('has told, or the next one tells, what is true in the end', async () => {
    const { strata } = context;
    for (let round = 0; round < 8; round += 1) {
      const { connection } = strata;
      const heard = await Listening.open(connection);
      const run = (command: string[], autoRemove = false) =>
        connection.request('container.run', { options: { image: 'busybox', command, autoRemove } });
      const doings = [
        run(['true']),
        run(['sleep', '0.05'], true),
        run(['sleep', '1000']),
        run(['sleep', '1000']).then(({ id }) => connection.request('container.remove', { container: id, force: true })),
      ].map((doing) => doing.catch(() => {})); // it goes with its helper
      // Some come to their end, some are under way, some are never heard.
      await until(() => heard.events.length >= round, 'so many events');
      await strata.helper.crash();
      await Promise.all(doings);
      await strata.restart();
    }
    const all = await past(strata, { kind: 'time', timeMs: 0 });
    expectWhole(all);
    const { containers } = await strata.connection.request('container.list', { all: true });
    const ids = new Set(all.events.filter(({ type }) => type === 'container').map(({ actor }) => actor.id));
    expect(containers.filter(({ id }) => !ids.has(id))).toEqual([]);
    for (const id of ids) {
      const life = all.actionsOf(id).filter((action) => ['create', 'start', 'die', 'destroy'].includes(action));
      expect(life.join(' ')).toMatch(/^create( start die| die)*( start)?( destroy)?$/);
      const found = containers.find((container) => container.id === id);
      const last = life.at(-1);
      if (found === undefined) expect(last).toBe('destroy');
      else expect({ created: 'create', running: 'start', exited: 'die' }[found.state.kind], life.join(' ')).toBe(last);
    }
    expect(ids.size).toBeGreaterThanOrEqual(8);
  }, 90_000);
});

describe('the command line', () => {
  it('shows what has happened, as text and as JSON, and ends at its time', async () => {
    const { strata } = context;
    const { id } = await strata.run({ command: ['true'], name: 'shown', labels: { app: 'shop', bad: 'a\u001b[31mb' } });
    const filters = ['--filter', 'container=shown', '-f', 'event=start', '-f', 'event=die'];
    const text = await strata.cli(['events', '--since', '10m', '--until', 'now', ...filters]);
    expect(text).toMatchObject({ status: 0, stderr: '' });
    const [start, die, ...rest] = text.stdout.trimEnd().split('\n');
    expect(rest).toEqual([]);
    expect(start).toMatch(
      /^\d{4}-\d\d-\d\dT[\d:.]+Z container start [0-9a-f]{12} \(app=shop, bad=a\?\[31mb, image=busybox:latest, name=shown\)$/,
    );
    expect(die).toMatch(/container die .*exitCode=0/);
    const json = await strata.cli(['events', '--since', '10m', '--until', 'now', '--json', '--filter', `container=${id}`]);
    expect(parsed(json.stdout).map(({ action }) => action)).toEqual(['create', 'start', 'die']);
    expect((await strata.cli(['events', '--since', '0', '--until', '1', '--json'])).stdout).toBe('');
  });

  it.each([
    [['--filter', 'colour=red'], /--filter "colour=red" is none of type=…/],
    [['--since', 'yesterday'], /--since "yesterday" is neither a time/],
    [['--until', 'soon'], /--until "soon" is neither a time/],
    [['--format', 'xml'], /xml/],
  ])('refuses %j', async (args, message) => {
    const result = await context.strata.cli(['events', ...args]);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(message);
  });
});
