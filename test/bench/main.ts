// npm run bench [-- starts execs idle mass phases logs images commits layers] [--rounds 60] [--containers 50] [--many 100] [--mib 512] [--image debian|files|mixed] [--compression gzip|zstd] [--no-engines]: how Strata compares
// with its peers on this machine, now; without a name everything. What is compared runs in turn, round by round, so that a machine
// that gets slower gets slower for all; read ratios.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { planContainer } from '../../helper/containers/plan.ts';
import { containerIdSchema, DEFAULT_LIMITS, type ImageConfig } from '../../helper/protocol/index.ts';
import { distFile, HelperProcess, type Place } from '../integration/support/helperProcess.ts';
import { removeCgroupParent } from '../integration/support/leaks.ts';
import { Strata } from '../integration/support/strata.ts';
import { compareCommits } from './commits.ts';
import { CommandContender, type Contender, compile, hybridWrapper, isInstalled, StrataContender, writeBundle } from './contenders.ts';
import { type Engine, preparePodman, startDocker } from './engines.ts';
import { compareOciExecs } from './execs.ts';
import { measureFootprint } from './footprint.ts';
import { imageNames, layerCompressions } from './imageSet.ts';
import { compareImages } from './images.ts';
import { compareLayerIndexes } from './layers.ts';
import { compareLogs } from './logs.ts';
import { startManyInEngine, startManyInStrata } from './mass.ts';
import { type Phase, phasesOf, traceCommand, traceStarts } from './phases.ts';
import { compareInTurn, printComparison, row } from './rounds.ts';
import { summarize } from './statistics.ts';
import { LoopStore } from './store.ts';

const sections = ['starts', 'execs', 'idle', 'mass', 'phases', 'logs', 'images', 'commits', 'layers'] as const;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '60' },
    containers: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '10' },
    many: { type: 'string', default: '100' },
    mib: { type: 'string', default: '512' },
    image: { type: 'string' },
    compression: { type: 'string' },
    'no-engines': { type: 'boolean', default: false },
  },
});
const unknown = positionals.find((name) => !sections.some((section) => section === name));
if (unknown !== undefined) throw new Error(`there is no section "${unknown}": ${sections.join(', ')}`);
const wants = (section: (typeof sections)[number]): boolean => positionals.length === 0 || positionals.includes(section);
const rounds = Number(options.rounds);
const chosenImages = imageNames.filter((name) => options.image === undefined || options.image === name);
const compressions = layerCompressions.filter((name) => options.compression === undefined || options.compression === name);

/** Below no other, so that the bench can remove what its contenders leave. */
function cgroupOf(name: string): string {
  return `/strata-bench-${process.pid}-${name}`;
}

/** With what an engine leaves below its parent. */
function removeCgroups(cgroup: string): void {
  for (const directory of fs
    .globSync(`/sys/fs/cgroup/{,*/}${cgroup.slice(1)}{,/**}`)
    .sort()
    .reverse()) {
    if (fs.statSync(directory).isDirectory()) fs.rmdirSync(directory);
  }
}

function placeIn(directory: string, name: string): Place {
  const run = path.join(directory, name, 'run');
  return {
    directory: path.join(directory, name),
    root: path.join(directory, name, 'root'),
    run,
    socketPath: path.join(run, 'strata.sock'),
    cgroupParent: cgroupOf(name),
  };
}

/** The config that Strata gives its own runtime for `true`, for the others. */
function equalConfig(cgroup: string, command: string[]): Record<string, unknown> {
  const image: ImageConfig = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } };
  const plan = planContainer({
    id: containerIdSchema.parse('0'.repeat(32)),
    options: { image: 'busybox', command },
    image,
    limits: DEFAULT_LIMITS,
    cgroup,
  });
  // The peers compile their seccomp profile at each start; without one the comparison is in their favour.
  // crun 1.8 knows no runtime-spec after 1.0.
  return { ...plan.config, ociVersion: '1.0.2' };
}

function bundleOf(store: LoopStore, name: string, command: string[] = ['/bin/true']): string {
  return writeBundle(path.join(store.directory, name), distFile('images/busybox.tar'), equalConfig(`${cgroupOf('oci')}/${name}`, command));
}

/** Each with a bundle of its own, and what it has to be wrapped in. */
function runtimes(): { name: string; command: string; wrapper: readonly string[] }[] {
  const list = [{ name: 'strata-runtime', command: distFile('strata-runtime'), wrapper: [] as readonly string[] }];
  if (isInstalled('crun')) list.push({ name: 'crun', command: 'crun', wrapper: hybridWrapper() });
  if (isInstalled('runc')) list.push({ name: 'runc', command: 'runc', wrapper: [] });
  return list;
}

function peers(store: LoopStore, timer: string): Contender[] {
  const floor = compile('floor.c', store.directory);
  const list: Contender[] = [];
  const floorBundle = bundleOf(store, 'floor-bundle');
  const rootfs = path.join(floorBundle, 'rootfs');
  list.push(new CommandContender('floor (C)', timer, [floor, rootfs, floorBundle, '/bin/true']));
  if (isInstalled('unshare')) list.push(new CommandContender('unshare', timer, ['unshare', '-mpfnuiC', 'chroot', rootfs, '/bin/true']));
  if (isInstalled('bwrap')) {
    const places = ['--bind', rootfs, '/', '--proc', '/proc', '--dev', '/dev'];
    list.push(new CommandContender('bwrap', timer, ['bwrap', '--unshare-all', ...places, '/bin/true']));
  }
  for (const { name, command, wrapper } of runtimes()) {
    const run = ['run', '--bundle', bundleOf(store, `${name}-bundle`), `bench-${name}-${process.pid}`];
    list.push(new CommandContender(`${name} run`, timer, [command, ...run], { wrapper }));
  }
  return list;
}

function engineRun(engine: Engine, timer: string): Contender {
  const { wrapper, environment } = engine;
  const run = [...engine.command, 'run', '--rm', ...engine.runOptions, 'busybox', 'true'];
  return new CommandContender(`${engine.name} run`, timer, run, { wrapper, environment });
}

async function openStrata(place: Place, extraArguments: readonly string[]): Promise<Strata> {
  const helper = await HelperProcess.start(place, ['--log-level', 'warn', ...extraArguments]);
  return new Strata(helper, await helper.connect());
}

async function compareStarts(store: LoopStore, timer: string, warm: Strata, engines: readonly Engine[]): Promise<void> {
  const cold = await openStrata(placeIn(store.directory, 'cold'), ['--warm', '0']);
  try {
    const contenders = [
      await StrataContender.make('strata run', await warm.helper.connect()),
      await StrataContender.make('strata run, no warm sandbox', await cold.helper.connect()),
      ...peers(store, timer),
      ...engines.map((engine) => engineRun(engine, timer)),
    ];
    // Everybody begins on a machine where what the one before left behind (teardown, the next warm sandbox) is done.
    const times = await compareInTurn(contenders, rounds, 40);
    printComparison(`Start to exit of \`true\`, ${rounds} rounds, milliseconds`, contenders, times, [
      'floor (C)',
      'crun run',
      'docker run',
    ]);
    for (const contender of contenders) contender.close();
  } finally {
    await cold.helper.stop();
    removeCgroupParent(cold.place);
  }
}

async function compareExecs(store: LoopStore, strata: Strata, timer: string): Promise<void> {
  const id = await strata.start();
  const contenders: Contender[] = [
    {
      name: 'strata exec',
      once: async () => {
        const start = process.hrtime.bigint();
        await strata.exec(id, ['true']);
        return Number(process.hrtime.bigint() - start) / 1e6;
      },
      close: () => {},
    },
  ];
  const { state } = await strata.find(id);
  if (isInstalled('nsenter') && state.kind === 'running') {
    contenders.push(new CommandContender('nsenter', timer, ['nsenter', '-t', String(state.pid), '-a', '/bin/true']));
  }
  const bundles = runtimes().map((runtime) => ({ ...runtime, bundle: bundleOf(store, `${runtime.name}-exec`, ['sleep', '10000']) }));
  await compareOciExecs(bundles, timer, contenders, rounds);
  await strata.remove(id);
}

async function measureIdle(strata: Strata): Promise<void> {
  const footprint = await measureFootprint(strata, Number(options.containers), Number(options.seconds));
  const supervisors = summarize(footprint.supervisorPrivateKib);
  console.log(`\nIdle, ${footprint.containers} containers that sleep, nobody watching`);
  console.log(row(['helper, resident MiB', footprint.helperRssMib.toFixed(1)]));
  console.log(row(['helper, percent of a cpu', footprint.helperCpuPercent.toFixed(2)]));
  console.log(row(['supervisor, private KiB', supervisors.median.toFixed(0)]));
  console.log(row(['warm sandbox, KiB', footprint.warmSlotKib.map((kib) => kib.toFixed(0)).join(' ')]));
}

async function compareMass(strata: Strata, engines: readonly Engine[]): Promise<void> {
  const count = Number(options.many);
  console.log(`\n${count} containers at once, until the last one runs: milliseconds, how many run`);
  for (let round = 0; round < 3; round += 1) {
    const own = await startManyInStrata(strata, count);
    console.log(row([own.name, own.milliseconds.toFixed(0), String(own.running)]));
    for (const engine of engines) {
      const { name, milliseconds, running } = startManyInEngine(engine, count);
      console.log(row([name, milliseconds.toFixed(0), String(running), `x${(milliseconds / own.milliseconds).toFixed(1)}`]));
    }
    await sleep(1000);
  }
}

function printPhases(title: string, phases: readonly Phase[]): void {
  console.log(`\n${title}, ${rounds} rounds, median milliseconds of each step`);
  for (const { process: name, step, milliseconds } of phases)
    console.log(`${milliseconds.toFixed(3).padStart(8)}  ${name.padEnd(16)}${step}`);
}

async function tracePhases(store: LoopStore): Promise<void> {
  const file = path.join(store.directory, 'trace');
  const run = ['run', '--bundle', bundleOf(store, 'traced'), `bench-traced-${process.pid}`];
  printPhases('strata-runtime run', phasesOf(await traceCommand([distFile('strata-runtime'), '--trace', file, ...run], file, rounds)));
  const helperFile = path.join(store.directory, 'helper-trace');
  const strata = await openStrata(placeIn(store.directory, 'traced-helper'), ['--trace', helperFile]);
  try {
    const start = async (): Promise<number> => {
      const { id } = await strata.connection.request('container.run', { options: { image: 'busybox', command: ['sleep', '0.02'] } });
      const { supervisorPid } = await strata.connection.request('container.inspect', { container: id });
      await strata.connection.request('container.wait', { container: id });
      await strata.remove(id);
      return supervisorPid ?? 0;
    };
    printPhases('Through the helper', phasesOf(await traceStarts(start, helperFile, rounds)));
  } finally {
    await strata.helper.stop();
    removeCgroupParent(strata.place);
  }
}

async function main(): Promise<void> {
  using store = wants('images') || wants('commits') ? new LoopStore(10_240, { isWritten: true }) : new LoopStore();
  const timer = compile('timer.c', store.directory);
  const engines: Engine[] = [];
  const wantsEngines = !options['no-engines'] && (wants('starts') || wants('mass') || wants('logs') || wants('images') || wants('commits'));
  const warm = await openStrata(placeIn(store.directory, 'warm'), ['--warm', '1-8']);
  try {
    if (wantsEngines) {
      const started = [
        preparePodman(path.join(store.directory, 'podman'), cgroupOf('podman')),
        await startDocker(path.join(store.directory, 'docker'), cgroupOf('docker')),
      ];
      engines.push(...started.filter((engine) => engine !== undefined));
    }
    if (wants('starts')) await compareStarts(store, timer, warm, engines);
    if (wants('execs')) await compareExecs(store, warm, timer);
    if (wants('mass')) await compareMass(warm, engines);
    if (wants('phases')) await tracePhases(store);
    if (wants('logs')) {
      const sizes = { rounds: Math.min(rounds, 10), mib: Number(options.mib) };
      await compareLogs(warm, engines, { directory: store.directory, timer, ...sizes });
    }
    if (wants('idle')) await measureIdle(warm);
    if (wants('images')) {
      // Minutes each: a few tell.
      await compareImages({
        strata: warm,
        engines,
        directory: store.directory,
        rounds: Math.min(rounds, 5),
        names: chosenImages,
        compressions,
      });
    }
    if (wants('commits')) await compareCommits({ strata: warm, engines, directory: store.directory, rounds: Math.min(rounds, 10) });
    if (wants('layers')) compareLayerIndexes(Math.min(rounds, 10));
  } finally {
    for (const engine of engines) await engine.stop();
    await warm.helper.stop();
    for (const name of ['warm', 'oci', 'podman', 'docker']) removeCgroups(cgroupOf(name));
  }
}

await main();
