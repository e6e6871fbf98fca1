// How fast a container's output gets into its log, and what that takes of memory.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Channel } from '../../helper/protocol/index.ts';
import { type Strata, streamOf } from '../integration/support/strata.ts';
import { CommandContender, type Contender } from './contenders.ts';
import type { Engine } from './engines.ts';
import { compareInTurn, row } from './rounds.ts';
import { pairedRatio, summarize } from './statistics.ts';

const floorName = 'pipe to a file';

/** Lines of 100 bytes, as fast as `cat` writes. */
function producer(mib: number): string {
  const file = '/dev/shm/lines-$$';
  const make = `yes ${'x'.repeat(99)} | head -c 16777200 > ${file}`;
  return `${make}; i=0; while [ $i -lt ${mib / 16} ]; do i=$((i+1)); cat ${file}; done; rm ${file}`;
}

/** What `producer` writes. */
const sizeOf = (mib: number): number => (mib / 16) * 16_777_200;

/** A container that writes, from the request to its exit: then all is in the log. `reads`: somebody follows it to the end. */
class StrataWriter implements Contender {
  readonly name: string;
  readonly #strata: Strata;
  readonly #mib: number;
  readonly #reads: boolean;
  readonly missed: number[] = [];

  constructor(strata: Strata, mib: number, reads: boolean) {
    this.name = reads ? 'strata, read as it comes' : 'strata';
    this.#strata = strata;
    this.#mib = mib;
    this.#reads = reads;
  }

  async once(): Promise<number> {
    const { connection } = this.#strata;
    const begin = performance.now();
    const options = { image: 'busybox', command: ['sh', '-c', producer(this.#mib)] };
    const { id, stream } = await connection.request('container.run', { options, ...(this.#reads ? { attach: true } : {}) });
    const waited = connection.request('container.wait', { container: id });
    let received = 0;
    if (this.#reads) {
      await new Promise<void>((resolve) =>
        streamOf(connection, stream).consume({
          data: (channel, bytes) => {
            if (channel !== Channel.bytes) received += bytes.byteLength;
          },
          closed: () => resolve(),
        }),
      );
      this.missed.push(1 - received / sizeOf(this.#mib));
    }
    await waited;
    const elapsed = performance.now() - begin;
    await this.#strata.remove(id);
    return elapsed;
  }

  close(): void {}
}

function engineWriter(engine: Engine, timer: string, mib: number): Contender {
  const call = engine.command.map((word) => `'${word}'`).join(' ');
  // Of Docker's drivers the one that is meant to be fast; conmon's own of Podman.
  const log =
    engine.name === 'docker'
      ? '--log-driver local --log-opt max-size=10m --log-opt max-file=10'
      : '--log-driver k8s-file --log-opt max-size=100m';
  const script = `id=$(${call} run -d ${log} ${engine.runOptions.join(' ')} busybox sh -c '${producer(mib)}') && ${call} wait $id >/dev/null && ${call} rm $id >/dev/null`;
  const { wrapper, environment } = engine;
  return new CommandContender(engine.name, timer, ['sh', '-c', script], { wrapper, environment });
}

export async function compareLogs(
  strata: Strata,
  engines: readonly Engine[],
  { directory, timer, rounds, mib }: { directory: string; timer: string; rounds: number; mib: number },
): Promise<void> {
  const file = path.join(directory, 'floor-log');
  const reading = new StrataWriter(strata, mib, true);
  const contenders = [
    new CommandContender(floorName, timer, ['sh', '-c', `{ ${producer(mib)}; } | cat > ${file}; rm ${file}`]),
    new StrataWriter(strata, mib, false),
    reading,
    ...engines.map((engine) => engineWriter(engine, timer, mib)),
  ];
  const times = await compareInTurn(contenders, rounds, 100);
  console.log(`\n${mib} MiB of lines of 100 bytes into a log, ${rounds} rounds`);
  console.log(row(['', 'median ms', 'MB/s', 'to floor']));
  for (const { name } of contenders) {
    const own = times.get(name) ?? [];
    const { median } = summarize(own);
    const ratio = pairedRatio(own, times.get(floorName) ?? []);
    console.log(row([name, median.toFixed(0), (sizeOf(mib) / 1000 / median).toFixed(0), ratio.toFixed(2)]));
  }
  const missed = summarize(reading.missed.slice(-rounds)).median;
  console.log(row(['its reader got, of all', `${(100 * (1 - missed)).toFixed(0)} %`]));
  for (const contender of contenders) contender.close();
  await measureMemory(strata, mib);
}

/** The most that supervisor and helper have resident while a container floods: nobody reads, somebody does, somebody stands still. */
async function measureMemory(strata: Strata, mib: number): Promise<void> {
  console.log('\nMost memory meanwhile, MiB');
  console.log(row(['', 'supervisor', 'helper']));
  for (const reader of ['nobody reads', 'a reader', 'a reader that stands still'] as const) {
    const { connection, helper } = strata;
    const { id } = await connection.request('container.run', {
      options: { image: 'busybox', command: ['sh', '-c', `read go; ${producer(mib)}; read end`], openStdin: true },
    });
    const { supervisorPid } = await connection.request('container.inspect', { container: id });
    if (reader !== 'nobody reads') {
      const { stream } = await connection.request('container.attach', { container: id });
      connection.stream(stream).consume({ data: () => (reader === 'a reader' ? undefined : new Promise<void>(() => {})) });
    }
    // Forgets the most there was so far (proc(5), clear_refs).
    fs.writeFileSync(`/proc/${helper.pid}/clear_refs`, '5');
    const input = connection.stream((await connection.request('container.attach', { container: id })).stream);
    input.consume({ data: () => {} });
    await input.write(Channel.stdin, Buffer.from('go\n'));
    input.close();
    await written(strata, id, sizeOf(mib));
    const most = [supervisorPid ?? 0, helper.pid].map((pid) => mostMib(pid).toFixed(1));
    console.log(row([reader, ...most]));
    await strata.remove(id);
  }
}

async function written({ connection }: Strata, id: string, bytes: number): Promise<void> {
  for (;;) {
    const { from, stream } = await connection.request('container.logs', { container: id, tail: 0 });
    connection.stream(stream).close();
    if (from.stdout >= bytes) return;
    await sleep(50);
  }
}

function mostMib(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? Number.NaN) / 1024;
}
