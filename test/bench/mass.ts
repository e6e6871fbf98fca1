// Many containers at once: from the first request until the last one runs.
import { execFileSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import type { Strata } from '../integration/support/strata.ts';
import type { Engine } from './engines.ts';

export interface MassStart {
  readonly name: string;
  readonly milliseconds: number;
  readonly running: number;
}

export async function startManyInStrata(strata: Strata, count: number): Promise<MassStart> {
  const start = performance.now();
  const started = await Promise.allSettled(Array.from({ length: count }, () => strata.start()));
  const milliseconds = performance.now() - start;
  // What was answered runs; asked again so that nobody is taken at his word.
  const { containers } = await strata.connection.request('container.list', { all: false });
  const ids = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const running = containers.filter(({ id }) => ids.includes(id)).length;
  await Promise.all(ids.map((id) => strata.remove(id)));
  return { name: 'strata', milliseconds, running };
}

/** `run -d` so many times in parallel; in one shell, so that all calls share the wrapper's namespaces. */
export function startManyInEngine(engine: Engine, count: number): MassStart {
  const quoted = engine.command.map((word) => `'${word}'`).join(' ');
  const script = [
    'begin=$(date +%s%N)',
    `i=0; while [ $i -lt ${count} ]; do ${quoted} run -d ${engine.runOptions.join(' ')} busybox sleep 1000 >/dev/null & i=$((i+1)); done; wait`,
    'end=$(date +%s%N)',
    `echo $((end - begin)) $(${quoted} ps -q | wc -l)`,
    `${quoted} ${engine.removeAll} >/dev/null`,
  ].join('\n');
  const [program = '', ...args] = [...engine.wrapper, 'sh', '-c', script];
  const said = execFileSync(program, args, {
    env: { ...process.env, ...engine.environment },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [nanoseconds = Number.NaN, running = 0] = said.trim().split(' ').map(Number);
  return { name: engine.name, milliseconds: nanoseconds / 1e6, running };
}
