import { StrataError } from '../../../helper/protocol/index.ts';
import type { Connection } from '../../../helper/wire/connection.ts';
import type { Random } from '../random.ts';
import { chooseTraits, optionsOf } from './bodies.ts';
import type { Known, Ledger, OperationKind, UnderWay } from './ledger.ts';
import { choosePolicy } from './policies.ts';

/** An operation that has begun; it settles when the client has heard of it, or never will. */
export interface Begun {
  readonly underWay: UnderWay;
  readonly settled: Promise<void>;
}

/** More containers than these are not made: what there is gets used. */
const mostContainers = 8;
const idMaps = [{ containerId: 0, hostId: 300_000, size: 65_536 }];

/** Who asks, what it was told, and how it chooses. */
export interface Client {
  readonly ledger: Ledger;
  readonly connection: Connection;
  readonly random: Random;
}

type Act = (connection: Connection, target: string, random: Random) => Promise<unknown>;

const acts: Readonly<Record<Exclude<OperationKind, 'create' | 'run'>, Act>> = {
  start: (connection, container) => connection.request('container.start', { container }),
  exec: (connection, container) => connection.request('container.exec', { container, command: ['sleep', '1'] }),
  pause: (connection, container) => connection.request('container.pause', { container }),
  resume: (connection, container) => connection.request('container.resume', { container }),
  stop: (connection, container, random) => connection.request('container.stop', { container, graceMs: random.pick([0, 50]) }),
  kill: async (connection, container) => {
    await connection.request('container.kill', { container });
    await connection.request('container.wait', { container });
  },
  restart: (connection, container, random) => connection.request('container.restart', { container, graceMs: random.pick([0, 50]) }),
  remove: (connection, container) => connection.request('container.remove', { container, force: true }),
  rename: (connection, container, random) =>
    connection.request('container.rename', { container, name: `renamed-${Math.floor(random.next() * 1e9)}` }),
  update: (connection, container, random) =>
    connection.request('container.update', { container, limits: { pidsMax: 20 + random.below(200) } }),
};

const isRunning = ({ summary }: Known): boolean => summary.state.kind === 'running';
const isPaused = ({ summary: { state } }: Known): boolean => state.kind === 'running' && state.paused === true;
const isIdle = ({ summary }: Known): boolean => summary.state.kind !== 'running' && !summary.autoRemove;
/** A stop cancels a start that its policy has in mind. */
const isStoppable = (known: Known): boolean =>
  isRunning(known) || (known.summary.state.kind === 'exited' && known.summary.state.restartsAt !== undefined);

/** Which containers it can be done to. */
const wanted: Readonly<Record<Exclude<OperationKind, 'create' | 'run'>, (known: Known) => boolean>> = {
  start: isIdle,
  exec: (known) => isRunning(known) && !isPaused(known),
  pause: (known) => isRunning(known) && !isPaused(known),
  resume: isPaused,
  stop: isStoppable,
  kill: isRunning,
  restart: isRunning,
  remove: () => true,
  rename: () => true,
  update: () => true,
};
/** What is to be done more often stands there more often. */
const choices = ['start', 'start', 'exec', 'pause', 'resume', 'stop', 'kill', 'restart', 'remove', 'rename', 'update'] as const;

/** Those that can be done now. */
export function possible(ledger: Ledger): OperationKind[] {
  const all = [...ledger.known.values()];
  const kinds: OperationKind[] = all.length < mostContainers ? ['create', 'run', 'run', 'run'] : ['remove', 'remove'];
  return [...kinds, ...choices.filter((kind) => all.some(wanted[kind]))];
}

export function begin(kind: OperationKind, by: Client): Begun {
  if (kind === 'create' || kind === 'run') return beginNew(kind, by);
  const { ledger, connection, random } = by;
  const known = random.pick([...ledger.known.values()].filter(wanted[kind]));
  if (kind === 'start') {
    known.causes.clear();
    if (known.traits.body === 'brief') known.causes.add('itself');
  }
  if (kind === 'start' || kind === 'restart') known.starts += 1;
  if (kind === 'stop' || kind === 'restart') known.causes.add('stopped');
  if (kind === 'kill' || kind === 'remove') known.causes.add('killed');
  const rest = restAfter[kind];
  if (rest !== undefined || kind === 'remove') ledger.want(known, 'maybe');
  const { id } = known.summary;
  return follow(ledger, { kind, target: id, traits: known.traits, outcome: 'unheard' }, acts[kind](connection, id, random), () => {
    if (rest !== undefined) ledger.want(known, rest);
    if (kind === 'remove') ledger.forget(id);
  });
}

/** What a person wants of its policy who was told that it is done. */
const restAfter: Readonly<Partial<Record<OperationKind, 'yes' | 'no'>>> = { start: 'no', restart: 'no', stop: 'yes', kill: 'yes' };

function beginNew(kind: 'create' | 'run', { ledger, connection, random }: Client): Begun {
  const traits = chooseTraits(random);
  const name = `c-${Math.floor(random.next() * 1e9)}`;
  const autoRemove = kind === 'run' && random.below(3) === 0;
  const restartPolicy = autoRemove ? undefined : choosePolicy(random);
  const limits = random.below(2) === 0 ? { pidsMax: 30 + random.below(100) } : {};
  // Such a one is made in a sandbox of its own, with layers that are mapped.
  const own = random.below(5) === 0 ? { userNamespace: { uidMaps: idMaps, gidMaps: idMaps } } : {};
  const options = { image: 'busybox', name, ...optionsOf(traits), autoRemove, restartPolicy, limits, ...own };
  const asked = kind === 'create' ? connection.request('container.create', { options }) : connection.request('container.run', { options });
  return follow(ledger, { kind, target: name, traits, outcome: 'unheard' }, asked, () => {});
}

function follow(ledger: Ledger, underWay: UnderWay, asked: Promise<unknown>, onAnswer: () => void): Begun {
  ledger.underWay = underWay;
  const settled = asked.then(
    () => {
      underWay.outcome = 'answered';
      onAnswer();
    },
    (error: unknown) => {
      if (!(error instanceof StrataError)) throw error;
      if (error.code === 'CONNECTION_CLOSED') return;
      underWay.outcome = 'refused';
      underWay.error = `${error.code}: ${error.message}`;
    },
  );
  return { underWay, settled };
}
