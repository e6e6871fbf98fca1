import { StrataError } from '../../../helper/protocol/index.ts';
import type { Connection } from '../../../helper/wire/connection.ts';
import type { Random } from '../random.ts';
import { type Body, commandOf } from './bodies.ts';
import type { Known, Ledger, OperationKind, UnderWay } from './ledger.ts';

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
  stop: (connection, container, random) => connection.request('container.stop', { container, graceMs: random.pick([0, 50]) }),
  kill: async (connection, container) => {
    await connection.request('container.kill', { container });
    await connection.request('container.wait', { container });
  },
  remove: (connection, container) => connection.request('container.remove', { container, force: true }),
  rename: (connection, container, random) =>
    connection.request('container.rename', { container, name: `renamed-${Math.floor(random.next() * 1e9)}` }),
  update: (connection, container, random) =>
    connection.request('container.update', { container, limits: { pidsMax: 20 + random.below(200) } }),
};

/** Those that can be done now; what is to be done more often stands there more often. */
export function possible(ledger: Ledger): OperationKind[] {
  const all = [...ledger.known.values()];
  const kinds: OperationKind[] = all.length < mostContainers ? ['create', 'run', 'run', 'run'] : ['remove', 'remove'];
  if (all.some(isIdle)) kinds.push('start', 'start');
  if (all.some(isRunning)) kinds.push('exec', 'stop', 'kill');
  if (all.length > 0) kinds.push('remove', 'rename', 'update');
  return kinds;
}

const isRunning = ({ summary }: Known): boolean => summary.state.kind === 'running';
const isIdle = ({ summary }: Known): boolean => summary.state.kind !== 'running' && !summary.autoRemove;

export function begin(kind: OperationKind, by: Client): Begun {
  if (kind === 'create' || kind === 'run') return beginNew(kind, by);
  const { ledger, connection, random } = by;
  const all = [...ledger.known.values()];
  const wanted = {
    start: isIdle,
    exec: isRunning,
    stop: isRunning,
    kill: isRunning,
    remove: () => true,
    rename: () => true,
    update: () => true,
  };
  const known = random.pick(all.filter(wanted[kind]));
  if (kind === 'start') {
    known.causes.clear();
    if (known.body === 'brief') known.causes.add('itself');
  }
  if (kind === 'stop') known.causes.add('stopped');
  if (kind === 'kill' || kind === 'remove') known.causes.add('killed');
  const { id } = known.summary;
  return follow(ledger, { kind, target: id, body: known.body, outcome: 'unheard' }, acts[kind](connection, id, random), () => {
    if (kind === 'remove') ledger.forget(id);
  });
}

function beginNew(kind: 'create' | 'run', { ledger, connection, random }: Client): Begun {
  const body = random.pick<Body>(['sleeper', 'listener', 'brief', 'brief']);
  const name = `c-${Math.floor(random.next() * 1e9)}`;
  const autoRemove = kind === 'run' && random.below(3) === 0;
  const limits = random.below(2) === 0 ? { pidsMax: 30 + random.below(100) } : {};
  // Such a one is made in a sandbox of its own, with layers that are mapped.
  const own = random.below(5) === 0 ? { userNamespace: { uidMaps: idMaps, gidMaps: idMaps } } : {};
  const options = { image: 'busybox', name, command: commandOf(body), autoRemove, limits, ...own };
  const asked = kind === 'create' ? connection.request('container.create', { options }) : connection.request('container.run', { options });
  return follow(ledger, { kind, target: name, body, outcome: 'unheard' }, asked, () => {});
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
