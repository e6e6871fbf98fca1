import { childConfig, configBytesOf } from '../images/childConfig.ts';
import type { ImageService } from '../images/imageService.ts';
import { applyInstructions, type RuntimeConfig } from '../images/instructions.ts';
import type { LayerStore } from '../images/layerStore.ts';
import { newName } from '../images/reference.ts';
import type { ContainerId, CreateOptions, Digest, ImageConfig, ImageSummary } from '../protocol/index.ts';
import { KeyedMutex } from '../store/mutex.ts';
import type { ArchiveRuns } from './archiveRuns.ts';
import type { Container } from './container.ts';
import { ownFiles } from './copies.ts';
import type { ContainerDrafts } from './drafts.ts';
import type { ContainerEndings } from './endings.ts';
import type { ContainerPauses } from './pauses.ts';
import { mergeEnvironment } from './plan.ts';
import type { ContainerRegistry } from './registry.ts';

export interface CommitRequest {
  readonly reference: string | undefined;
  readonly changes: readonly string[];
  readonly author: string | undefined;
  readonly message: string | undefined;
  /** RFC 3339. */
  readonly created: string;
  readonly pause: boolean;
}

/**
 * Images made of what containers changed.
 *
 * Invariants: a container's upper is only read; one commit of a container is under way at a time, so that none lets it go on while another reads; a
 * container that does not run is not started meanwhile.
 */
export class ContainerCommits {
  readonly #turns: KeyedMutex<ContainerId>;
  readonly #registry: ContainerRegistry;
  readonly #drafts: ContainerDrafts;
  readonly #endings: ContainerEndings;
  readonly #runs: ArchiveRuns;
  readonly #pauses: ContainerPauses;
  readonly #layers: LayerStore;
  readonly #images: ImageService;
  readonly #commits = new KeyedMutex<ContainerId>();

  constructor(options: {
    turns: KeyedMutex<ContainerId>;
    registry: ContainerRegistry;
    drafts: ContainerDrafts;
    endings: ContainerEndings;
    runs: ArchiveRuns;
    pauses: ContainerPauses;
    layers: LayerStore;
    images: ImageService;
  }) {
    this.#turns = options.turns;
    this.#registry = options.registry;
    this.#drafts = options.drafts;
    this.#endings = options.endings;
    this.#runs = options.runs;
    this.#pauses = options.pauses;
    this.#layers = options.layers;
    this.#images = options.images;
  }

  async commit(text: string, request: CommitRequest, signal: AbortSignal): Promise<ImageSummary> {
    const container = this.#registry.find(text);
    container.requireWhole();
    const reference = request.reference === undefined ? undefined : newName(request.reference);
    const image = this.#drafts.imageOf(container.record);
    const config = applyInstructions(committedConfig(container.record.options, image.config), request.changes);
    let made: Digest | undefined;
    const summary = await this.#images.assemble({ reference, came: 'commit' }, async (pin, chain) => {
      for (const chainId of image.chainIds) pin.add(chainId);
      chain.push(...image.chainIds);
      const layer = await this.#commits.run(container.id, () =>
        this.#whileReadable(container, request.pause, async (changes, removed) => {
          const source = { directory: container.paths.upper, name: `container "${container.record.name}"`, changes, leftOut: ownFiles };
          return await this.#layers.addCopy(source, chain, { pin, signal: AbortSignal.any([signal, removed]) });
        }),
      );
      made = layer?.chainId;
      if (layer !== undefined) chain.push(layer.chainId);
      const { args } = container.plan.config.process;
      const step = { created: request.created, createdBy: args.join(' '), author: request.author, comment: request.message };
      const child = childConfig(image.config, config, layer?.diffId, step);
      return { configBytes: configBytesOf(child), config: child };
    });
    // Only now: it would take the disk from what the answer waits for.
    if (made !== undefined) this.#layers.unpackSoon(made);
    return summary;
  }

  /** Nothing writes to its upper while `read` runs, unless `changes` says that its processes go on. */
  async #whileReadable<T>(container: Container, pause: boolean, read: (changes: boolean, removed: AbortSignal) => Promise<T>): Promise<T> {
    const run = (changes: boolean): Promise<T> =>
      this.#runs.whileReadingUpper(container, async (removed) => {
        try {
          return await read(changes, removed);
        } catch (error) {
          throw removed.aborted ? removed.reason : error;
        }
      });
    for (;;) {
      await container.starting?.catch(() => {});
      if (container.state.kind === 'running') return pause ? await this.#pauses.whileStill(container, () => run(false)) : await run(true);
      const done = await this.#turns.run(container.id, async () => {
        if (container.state.kind === 'running') return undefined;
        await this.#endings.supervisorGone(container);
        return { result: await run(false) };
      });
      if (done !== undefined) return done.result;
    }
  }
}

/** Pure. What a container was told, as the config of an image: what a person asked for, else as its image has it (as `docker commit` keeps it). */
export function committedConfig(options: CreateOptions, { config = {} }: ImageConfig): RuntimeConfig {
  const { entrypoint, command, env, user, workingDirectory, labels, stopSignal } = options;
  const { Cmd: imageCommand, ...rest } = config;
  const Cmd = command !== undefined && command.length > 0 ? command : entrypoint === undefined ? imageCommand : undefined;
  const check = healthcheckOf(options, config);
  return {
    ...rest,
    ...(entrypoint === undefined ? {} : { Entrypoint: [...entrypoint] }),
    ...(Cmd === undefined || Cmd === null ? {} : { Cmd: [...Cmd] }),
    ...(env === undefined ? {} : { Env: mergeEnvironment(config.Env ?? [], env) }),
    ...(user === undefined ? {} : { User: user }),
    ...(workingDirectory === undefined ? {} : { WorkingDir: workingDirectory }),
    ...(labels === undefined ? {} : { Labels: { ...config.Labels, ...labels } }),
    ...(stopSignal === undefined ? {} : { StopSignal: stopSignal }),
    ...(check === undefined ? {} : { Healthcheck: check }),
  };
}

/** An image counts in nanoseconds. */
function healthcheckOf({ healthcheck }: CreateOptions, config: RuntimeConfig): RuntimeConfig['Healthcheck'] {
  if (healthcheck === undefined) return undefined;
  const { test, intervalMs, timeoutMs, startPeriodMs, startIntervalMs, retries } = healthcheck;
  const time = (name: string, ms: number | undefined) => (ms === undefined ? {} : { [name]: Math.round(ms * 1e6) });
  return {
    ...config.Healthcheck,
    ...(test === undefined ? {} : { Test: [...test] }),
    ...time('Interval', intervalMs),
    ...time('Timeout', timeoutMs),
    ...time('StartPeriod', startPeriodMs),
    ...time('StartInterval', startIntervalMs),
    ...(retries === undefined ? {} : { Retries: retries }),
  };
}
