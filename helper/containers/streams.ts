import type { EventHub } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import type { ExecId, LogPosition, Params, TerminalSize } from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';
import { type Attachment, answered, joiningOf, requireRunning, resizeSession } from './launcher.ts';
import { advance, findTail, LogFile } from './logFile.ts';
import { LogPump } from './logPump.ts';
import type { ContainerRegistry } from './registry.ts';

/** Output and input of containers, on streams that a client has opened. */
export class ContainerStreams {
  readonly #registry: ContainerRegistry;
  readonly #hub: EventHub;
  readonly #log: Logger;

  constructor(options: { registry: ContainerRegistry; hub: EventHub; log: Logger }) {
    this.#registry = options.registry;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  isTty(reference: string): boolean {
    return this.#registry.find(reference).record.options.tty ?? false;
  }

  async logs(params: Params<'container.logs'>, stream: ByteStream): Promise<LogPosition> {
    const container = this.#registry.find(params.container);
    const { log, from } = await LogFile.openAt(container.paths.log, (opened) => startOf(opened, params, stream.signal));
    // Nothing comes from the client; its credit and its close do.
    stream.consume({ data: () => {} });
    const { sinceMs, timestamps } = params;
    const pump = new LogPump({ log, stream, from, sinceMs, timestamps, logger: this.#log });
    if (params.follow === true && container.state.kind !== 'exited') container.addReader(pump);
    else pump.finish();
    return from;
  }

  async attach(reference: string, attachment: Attachment): Promise<void> {
    const { stream } = attachment;
    const container = this.#registry.find(reference);
    const client = requireRunning(container);
    const { attachments } = container;
    const { log, from } = await LogFile.openAt(container.paths.log, (opened) => opened.size());
    container.addReader(new LogPump({ log, stream, from: { offset: from, skip: 0 }, logger: this.#log }));
    const joining = joiningOf(container, attachment);
    attachments?.join(stream, joining);
    this.#noteAttached(container, stream.signal);
    if (joining.size !== undefined) await answered(container, resizeSession(client, 0, joining.size));
  }

  /** With its end the container closes the stream, too: that is no leaving. */
  #noteAttached(container: Container, signal: AbortSignal): void {
    const note = (action: string): void => this.#hub.note(containerSubject(container.summary()), action);
    note('attach');
    const onClose = (): void => {
      if (container.state.kind === 'running') note('detach');
    };
    signal.addEventListener('abort', onClose, { once: true });
  }

  /** `stream`: of the client whose window it is, which has a say once it is used. */
  async resize(
    reference: string,
    size: TerminalSize,
    { exec, stream }: { exec?: ExecId | undefined; stream?: ByteStream | undefined },
  ): Promise<void> {
    const container = this.#registry.find(reference);
    const client = requireRunning(container);
    if (exec === undefined) {
      if (stream === undefined) await answered(container, resizeSession(client, 0, size));
      else container.attachments?.resize(stream, size);
      return;
    }
    const running = container.execs.get(exec);
    // It may have ended while the window was dragged.
    if (running !== undefined) await answered(container, resizeSession(client, running.supervisorSession, size));
  }
}

function startOf(log: LogFile, { tail, resume }: Params<'container.logs'>, signal: AbortSignal): Promise<LogPosition> {
  if (resume !== undefined) return advance(log, resume.from, resume.receivedBytes, signal);
  return tail === undefined ? Promise.resolve({ offset: 0, skip: 0 }) : findTail(log, tail, signal);
}
