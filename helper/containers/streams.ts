import type { EventHub } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { Channel, type ExecId, type LogPosition, type Params, type TerminalSize } from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';
import { type Attachment, answered, joiningOf, requireRunning, resizeSession } from './launcher.ts';
import { LogCursor, type LogPlace } from './logs/cursor.ts';
import { JsonEncoder, RawEncoder } from './logs/encoders.ts';
import { LineEnd } from './logs/lineEnd.ts';
import { endPlace, findLines, firstPlace, placeAt } from './logs/places.ts';
import { LogPump } from './logs/pump.ts';
import type { LogChannel, StreamBytes } from './logs/records.ts';
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

  async logs(params: Params<'container.logs'>, stream: ByteStream): Promise<{ from: LogPosition; first: LogPosition }> {
    const container = this.#registry.find(params.container);
    const { log } = container.paths;
    const channels = channelsOf(params);
    const first = await firstPlace(log);
    const from = await startOf(log, params, channels, stream.signal);
    const until = params.follow === true ? {} : { until: (await endPlace(log)).position };
    const cursor = await LogCursor.open(log, from);
    // Nothing comes from the client; its credit and its close do.
    stream.consume({ data: () => {} });
    const { untilMs } = params;
    const encoder = params.format === 'json' ? new JsonEncoder(channels) : new RawEncoder(channels, params.timestamps ?? false);
    const end = untilMs === undefined ? {} : { end: new LineEnd(untilMs, channels) };
    const pump = new LogPump({ cursor, stream, logger: this.#log, encoder, ...end, ...until });
    if (params.follow === true && container.state.kind !== 'exited') {
      container.addReader(pump);
      if (untilMs !== undefined) finishAt(pump, untilMs);
    } else pump.finish();
    return { from: positionOf(from), first: positionOf(first) };
  }

  async attach(reference: string, attachment: Attachment): Promise<void> {
    const { stream } = attachment;
    const container = this.#registry.find(reference);
    const client = requireRunning(container);
    const { attachments } = container;
    const { log } = container.paths;
    const cursor = await LogCursor.open(log, await endPlace(log));
    container.addReader(new LogPump({ cursor, stream, logger: this.#log }));
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

function channelsOf({ stdout, stderr }: Params<'container.logs'>): ReadonlySet<LogChannel> {
  return new Set<LogChannel>([...(stdout === false ? [] : [Channel.stdout]), ...(stderr === false ? [] : [Channel.stderr])]);
}

async function startOf(
  log: string,
  params: Params<'container.logs'>,
  channels: ReadonlySet<LogChannel>,
  signal: AbortSignal,
): Promise<LogPlace> {
  const { resume, tail, sinceMs, untilMs } = params;
  if (resume !== undefined) return await placeAt(log, { 1: resume.stdout, 2: resume.stderr }, channels);
  if (tail === undefined && sinceMs === undefined) return await firstPlace(log);
  return await findLines(log, { channels, sinceMs, untilMs }, tail, signal);
}

function positionOf({ position }: { readonly position: StreamBytes }): LogPosition {
  return { stdout: position[1], stderr: position[2] };
}

/** What a timer can wait for; who follows for longer is not timed. */
const longestTimerMs = 2 ** 31 - 1;

function finishAt(pump: LogPump, untilMs: number): void {
  const waitMs = Math.max(0, untilMs - Date.now());
  if (waitMs > longestTimerMs) return;
  const timer = setTimeout(() => pump.finish(), waitMs);
  void pump.done.then(() => clearTimeout(timer));
}
