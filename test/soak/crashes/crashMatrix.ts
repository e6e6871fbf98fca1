import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerSummary } from '../../../helper/protocol/index.ts';
import { HelperProcess, type Place } from '../../integration/support/helperProcess.ts';
import { leftovers } from '../../integration/support/leaks.ts';
import { Strata } from '../../integration/support/strata.ts';
import { countDescriptors, strayThings } from '../cleanHost.ts';
import { Random } from '../random.ts';
import type { TightDisk } from '../tightDisk.ts';
import { Ledger, type UnderWay } from './ledger.ts';
import { type Moment, Moments } from './moments.ts';
import { begin, possible } from './operations.ts';
import { strike, type Victim, victims } from './victims.ts';

/** So that it is known how long things take, and what their steps are. */
const rehearsals = 20;
/** Until what ends by itself has ended, and what is cleared away is away. */
const settleMs = 15_000;
/** Most operations write so much, and those that make a container more. */
const mostFreeBlocks = 8;

/**
 * A helper, its containers and a client; something of them is killed in the midst of an operation, and the next helper has to
 * find everything as the client was told that it is.
 */
export class CrashMatrix {
  /** What was not as it has to be, with the crash before it. */
  readonly problems: string[] = [];
  /** From the start of each next helper until it was ready. */
  readonly adoptionMs: number[] = [];
  /** How many crashes there were of each kind, and how many operations had come how far. */
  readonly crashes = new Map<string, number>();
  readonly outcomes = { answered: 0, refused: 0, unheard: 0 };
  readonly #strata: Strata;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #moments: Moments;
  readonly #interfaces: readonly string[];
  readonly #ownDescriptors: number;
  readonly #arguments: readonly string[];
  readonly #disk: TightDisk | undefined;

  private constructor(strata: Strata, options: { seed: number; trace: string; arguments: readonly string[]; disk: TightDisk | undefined }) {
    this.#strata = strata;
    this.#random = new Random(options.seed);
    this.#ledger = new Ledger(strata.place, { isForgetful: options.disk !== undefined });
    this.#moments = new Moments(options.trace);
    this.#interfaces = leftovers(strata.place).interfaces;
    this.#ownDescriptors = countDescriptors(strata.helper.pid);
    this.#arguments = options.arguments;
    this.#disk = options.disk;
  }

  /** `disk`: of the data directory, which is full while an operation is under way and its crash is adopted. */
  static async begin(place: Place, { seed, disk }: { seed: number; disk?: TightDisk }): Promise<CrashMatrix> {
    const trace = `${place.directory}/trace`;
    const helperArguments = ['--trace', trace];
    const helper = await HelperProcess.start(place, helperArguments);
    const strata = new Strata(helper, await helper.connect());
    const matrix = new CrashMatrix(strata, { seed, trace, arguments: helperArguments, disk });
    await matrix.#listen();
    for (let count = 0; count < rehearsals; count += 1) await matrix.#rehearse();
    return matrix;
  }

  /** Runs that have ended and whose end was looked at. */
  get runs(): number {
    return this.#ledger.ends.size;
  }

  /** One operation, one crash, the next helper. */
  async cycle(): Promise<void> {
    this.#moments.begin();
    this.#disk?.squeeze(this.#random.below(mostFreeBlocks));
    const kind = this.#random.pick(possible(this.#ledger));
    const { underWay, settled } = begin(kind, { ledger: this.#ledger, connection: this.#strata.connection, random: this.#random });
    const moment = this.#moments.choose(kind, this.#random);
    const victim = this.#random.pick(victims);
    const title = titleOf({ kind, target: underWay.target, victim, moment });
    await this.#moments.wait(moment);
    // What a full disk does to an operation is seen where it comes to its end.
    if (this.#disk !== undefined && this.#random.below(2) === 0) await settled;
    const struck = strike(victim, { place: this.#strata.place, helper: this.#strata.helper.pid, preferred: underWay.target });
    for (const id of struck.ids) this.#ledger.strike(id);
    this.crashes.set(victim, (this.crashes.get(victim) ?? 0) + 1);
    await settled;
    this.outcomes[underWay.outcome] += 1;
    // A helper that lives has to notice by itself.
    if (!struck.helper) this.#note(title, await this.#look());
    await this.#nextHelper();
    this.#note(title, await this.#look());
    if (this.#disk !== undefined) {
      this.#disk.relieve();
      await this.#nextHelper();
      this.#note(`${title}, room again`, await this.#look());
    }
    this.#note(title, await this.#strayThings());
    this.#ledger.underWay = undefined;
  }

  /** Removes everything; afterwards nothing may be left of it. */
  async end(): Promise<void> {
    const { connection, helper, place } = this.#strata;
    for (const { summary } of [...this.#ledger.known.values()]) await this.#strata.remove(summary.id);
    this.#note('the end', await this.#strayThings());
    connection.close();
    await helper.stop();
    const left = await patiently(() => {
      const { mounts, cgroups, processes, directories } = leftovers(place);
      return [...mounts, ...cgroups, ...processes, ...directories];
    });
    this.#note('the end', left);
  }

  async #rehearse(): Promise<void> {
    this.#moments.begin();
    const kind = this.#random.pick(possible(this.#ledger));
    const start = performance.now();
    const { settled, underWay } = begin(kind, { ledger: this.#ledger, connection: this.#strata.connection, random: this.#random });
    await settled;
    this.#moments.learn(kind, performance.now() - start);
    const refused = underWay.outcome === 'answered' || !this.#isSteady(underWay) ? [] : [`refused: ${underWay.error}`];
    this.#note(`rehearsal of ${kind}`, [...refused, ...(await this.#look())]);
    this.#ledger.underWay = undefined;
  }

  /** Nobody but who asks changes it: not its policy, which starts it and lets it have ended again, and not its own removal. */
  #isSteady({ kind, target }: UnderWay): boolean {
    if (kind === 'create' || kind === 'run') return true;
    const known = this.#ledger.known.get(target);
    return known !== undefined && known.summary.restartPolicy.name === 'no' && !known.summary.autoRemove;
  }

  async #nextHelper(): Promise<void> {
    await this.#strata.helper.crash();
    const start = performance.now();
    await this.#strata.restart(this.#arguments);
    this.adoptionMs.push(performance.now() - start);
    await this.#listen();
  }

  async #listen(): Promise<void> {
    this.#ledger.listen(this.#strata.connection);
    await this.#strata.connection.request('events.subscribe', {});
  }

  /** What is said at once, and when everything that ends by itself has ended. */
  async #look(): Promise<string[]> {
    const atOnce = await this.#compare();
    const endless = await patiently(async () => {
      const must = (await this.#list()).filter((summary) => this.#ledger.mustEnd(summary));
      const restarting = this.#ledger.pendingRestarts();
      return [...must.map(({ name }) => `${name} does not end`), ...restarting.map((id) => `the restart of ${id} is never over`)];
    });
    return [...atOnce, ...endless, ...(await this.#compare())];
  }

  async #compare(): Promise<string[]> {
    const runs = this.#ledger.countRuns();
    return this.#ledger.compare(await this.#list(), runs);
  }

  async #list(): Promise<ContainerSummary[]> {
    return (await this.#strata.connection.request('container.list', { all: true })).containers;
  }

  async #strayThings(): Promise<string[]> {
    const { helper } = this.#strata;
    return await patiently(async () => {
      const containers = await this.#list();
      const running = containers.filter(({ state }) => state.kind === 'running').length;
      const descriptors = countDescriptors(helper.pid);
      // A connection to the supervisor of each, and of the warm sandbox.
      const most = this.#ownDescriptors + running + 1;
      const tooMany = descriptors > most ? [`${descriptors} descriptors where ${most} would do`] : [];
      return [...strayThings(helper, { containers, interfaces: this.#interfaces, mostWarm: 1 }), ...tooMany];
    });
  }

  #note(title: string, problems: readonly string[]): void {
    for (const problem of problems) this.problems.push(`${title}: ${problem}`);
  }
}

function titleOf({ kind, target, victim, moment }: { kind: string; target: string; victim: Victim; moment: Moment }): string {
  const when = moment.kind === 'after' ? `after ${moment.ms.toFixed(2)} ms` : `at "${moment.step}"`;
  return `${kind} ${target}, ${victim} killed ${when}`;
}

/** What is still wrong when the time is over. */
async function patiently(look: () => string[] | Promise<string[]>): Promise<string[]> {
  for (const end = performance.now() + settleMs; ; await sleep(5)) {
    const wrong = await look();
    if (wrong.length === 0 || performance.now() > end) return wrong;
  }
}
