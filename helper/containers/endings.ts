import { existsSync } from 'node:fs';
import type { EventHub } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { type Exit, SIGNALS, signalName } from '../protocol/index.ts';
import type { Container } from './container.ts';
import { type EndingNote, encodeNote, noteWords } from './endingNote.ts';
import { type Launcher, lostReason } from './launcher.ts';
import type { ContainerPauses } from './pauses.ts';
import type { SandboxFactory } from './sandboxes.ts';
import { supervisorAnswerMs, within } from './waiting.ts';

/** How long a supervisor may take to clear away after the exit was told. */
const supervisorEndMs = 10_000;

/** Ends what runs, whether its supervisor answers, does not, or is gone. */
export class ContainerEndings {
  readonly #factory: SandboxFactory;
  readonly #launcher: Launcher;
  readonly #pauses: ContainerPauses;
  readonly #hub: EventHub;
  readonly #log: Logger;

  constructor(options: { factory: SandboxFactory; launcher: Launcher; pauses: ContainerPauses; hub: EventHub; log: Logger }) {
    this.#factory = options.factory;
    this.#launcher = options.launcher;
    this.#pauses = options.pauses;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  /** Kills what runs, whether its supervisor answers, does not, or is gone and its end could not be noted. */
  async end(container: Container, note: EndingNote): Promise<Exit> {
    const { client } = container;
    const exited = container.whenExited();
    if (client === undefined) {
      await this.#killSupervisor(container, note);
    } else {
      await this.signal(container, SIGNALS.SIGKILL, note);
      await Promise.race([exited, client.closed]);
    }
    if (container.state.kind === 'running') await this.#launcher.noteLost(container, lostReason);
    return await exited;
  }

  /** The start fails; it is not waited for here. */
  async giveUpStart(container: Container): Promise<void> {
    try {
      await this.signal(container, SIGNALS.SIGKILL, { by: 'giveUp' });
    } catch (error) {
      this.#log.warn({ err: error, container: container.id }, 'a start that is under way cannot be given up');
    }
  }

  /** After the exit was told a supervisor clears away its cgroups; only when it is gone is the container's place free. */
  async supervisorGone(container: Container): Promise<void> {
    await this.#whenSupervisorGone(container);
    // What it takes away last is there: it was killed after it had told the exit, and has left its cgroups.
    if (existsSync(container.paths.supervisor)) await this.#factory.kill(container.id);
  }

  async #whenSupervisorGone(container: Container): Promise<void> {
    const { client } = container;
    if (client === undefined) return;
    const closed = client.closed.then(() => true);
    if ((await within(closed, supervisorEndMs)) === undefined) {
      this.#log.warn({ container: container.id }, 'a supervisor does not end; it is killed');
      await this.#factory.kill(container.id);
      client.close();
    }
    container.client = undefined;
  }

  /** False: its supervisor does not answer. Where a kill is wanted that supervisor is killed, and its container with it. */
  async signal(container: Container, signal: number, note: EndingNote): Promise<boolean> {
    const { client } = container;
    if (client === undefined) return true;
    try {
      const asked = client.request('kill', { signal, note: encodeNote(note) }, { doing: `signal container "${container.record.name}"` });
      if ((await within(asked, supervisorAnswerMs)) !== undefined) {
        this.#noteKill(container, signal);
        if (signal === SIGNALS.SIGKILL) await this.#pauses.end(container);
        return true;
      }
    } catch (error) {
      // It ended while it was asked: what was wanted has happened.
      if (!client.isClosed) throw error;
      return true;
    }
    this.#log.warn({ container: container.id, signal }, 'a supervisor does not answer');
    if (signal !== SIGNALS.SIGKILL) return false;
    this.#noteKill(container, signal);
    await this.#killSupervisor(container, note);
    return true;
  }

  /** Nobody but this helper can tell then how it ended. */
  async #killSupervisor(container: Container, note: EndingNote): Promise<void> {
    container.lostReason = `killed with its supervisor, which did not answer: ${noteWords(note)}`;
    await this.#factory.kill(container.id);
  }

  #noteKill(container: Container, signal: number): void {
    if (container.state.kind === 'running') {
      this.#hub.note(containerSubject(container.summary()), 'kill', { signal: signalName(signal) });
    }
  }
}
