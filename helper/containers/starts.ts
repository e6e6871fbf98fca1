import type { Logger } from '../log.ts';
import { fromNative } from '../native/errors.ts';
import { StrataError } from '../protocol/index.ts';
import type { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import type { ContainerEndings } from './endings.ts';
import type { ExitRecords } from './exitRecords.ts';
import type { Launcher, LaunchRequest } from './launcher.ts';
import type { ContainerRecord } from './record.ts';
import type { Sandbox, SandboxFactory } from './sandboxes.ts';

/**
 * Brings containers to run. The record says so before: a start is never forgotten.
 *
 * Invariants: what nobody waits for any more does not run; a start that failed leaves the container, and what the next
 * helper finds of it, as they were.
 */
export class ContainerStarts {
  readonly #files: ContainerFiles;
  readonly #exits: ExitRecords;
  readonly #factory: SandboxFactory;
  readonly #launcher: Launcher;
  readonly #endings: ContainerEndings;
  readonly #log: Logger;

  constructor(options: {
    files: ContainerFiles;
    exits: ExitRecords;
    factory: SandboxFactory;
    launcher: Launcher;
    endings: ContainerEndings;
    log: Logger;
  }) {
    this.#files = options.files;
    this.#exits = options.exits;
    this.#factory = options.factory;
    this.#launcher = options.launcher;
    this.#endings = options.endings;
    this.#log = options.log;
  }

  /** Of a new container. `known`: its record is written. */
  async first(
    container: Container,
    { sandbox, known, ...request }: LaunchRequest & { sandbox: Sandbox | undefined; known: () => void },
  ): Promise<number> {
    const used = sandbox ?? (await this.#launcher.sandboxFor(container));
    return await this.#launch(container, used, request, async () => {
      await this.#files.writeRecord(container.record);
      known();
    });
  }

  async again(container: Container, request: LaunchRequest): Promise<number> {
    const before = { state: container.state, record: container.record };
    let pid: number;
    try {
      await this.#exits.settle(container.id, { volatile: container.autoRemove });
      await this.#files.putExitAside(container.id);
      // What a supervisor that was killed did not clear away.
      await this.#files.removeRun(container.id);
      if (container.autoRemove) await this.#files.forgetVolatileMark(container.id);
      const record = { ...before.record, startedInBoot: this.#launcher.bootId };
      await this.#files.writeRecord(record);
      container.record = record;
      const sandbox = await this.#launcher.sandboxFor(container);
      pid = await this.#launch(container, sandbox, request, () => {
        container.stateBefore = before.state;
        container.state = { kind: 'created' };
      });
    } catch (error) {
      await this.#takeBack(container, before);
      throw fromNative(error, `start container "${container.record.name}"`);
    } finally {
      container.stateBefore = undefined;
    }
    await this.#forgetEarlierExit(container);
    return pid;
  }

  async #launch(container: Container, sandbox: Sandbox, request: LaunchRequest, before: () => void | Promise<void>): Promise<number> {
    const { signal } = request;
    try {
      if (signal.aborted) throw givenUp();
      const { hostname } = container.record.options;
      if (hostname !== undefined) this.#files.setHostname(container.id, hostname);
      await before();
    } catch (error) {
      await this.#factory.discard(sandbox);
      throw error;
    }
    const giveUp = (): void => void this.#endings.giveUpStart(container);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      const pid = await this.#launcher.launch(container, sandbox, request);
      if (!signal.aborted) return pid;
    } catch (error) {
      // Killed in the middle of its start: that is how one is given up.
      throw signal.aborted ? givenUp(error) : error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
    await this.#endings.end(container, { by: 'giveUp' });
    await this.#endings.supervisorGone(container);
    throw givenUp();
  }

  /** As it was before, unless something was run. Trouble with that never hides why the start failed. */
  async #takeBack(container: Container, before: { state: Container['state']; record: ContainerRecord }): Promise<void> {
    try {
      if (await this.#launcher.noteFailedStart(container)) {
        await this.#forgetEarlierExit(container);
        return;
      }
      if (container.state.kind === 'created') container.state = before.state;
      container.record = before.record;
      await this.#files.putExitBack(container.id);
      await this.#files.writeRecord(before.record);
    } catch (error) {
      this.#log.error({ err: error, container: container.id }, 'cannot write that a start failed');
    }
  }

  async #forgetEarlierExit(container: Container): Promise<void> {
    try {
      await this.#files.forgetEarlierExit(container.id);
    } catch (error) {
      this.#log.warn({ err: error, container: container.id }, 'cannot remove the exit record of an earlier run');
    }
  }
}

function givenUp(cause?: unknown): StrataError {
  return new StrataError('CANCELLED', 'the start was given up', { cause });
}
