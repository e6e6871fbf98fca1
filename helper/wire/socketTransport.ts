import {
  AbstractMessageReader,
  AbstractMessageWriter,
  type DataCallback,
  type Disposable,
  Message,
  type MessageReader,
  type MessageWriter,
} from 'vscode-jsonrpc/node';
import type { WebSocket } from 'ws';
import { LIMITS, StrataError } from '../protocol/index.ts';
import { toResponseError } from './errorPayload.ts';

/** Feeds vscode-jsonrpc with the text messages of a WebSocket; binary messages belong to the streams. */
export class SocketReader extends AbstractMessageReader implements MessageReader {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
  }

  override listen(callback: DataCallback): Disposable {
    const onMessage = (data: Buffer | ArrayBuffer | Buffer[], isBinary: boolean): void => {
      if (isBinary) return;
      const message = parseMessage(toText(data));
      if (message === undefined) {
        // RFC 6455: 1007 is "data that is not consistent with the type of the message".
        this.#socket.close(1007, 'not a JSON-RPC 2.0 message');
        return;
      }
      callback(message);
    };
    this.#socket.on('message', onMessage);
    return { dispose: () => this.#socket.off('message', onMessage) };
  }
}

function toText(data: Buffer | ArrayBuffer | Buffer[]): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString();
  return (data instanceof ArrayBuffer ? Buffer.from(data) : data).toString();
}

/** A JSON object with `jsonrpc: "2.0"`, else undefined; vscode-jsonrpc tells requests, responses and notifications apart. */
function parseMessage(text: string): Message | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return 'jsonrpc' in value && value.jsonrpc === '2.0' ? { ...value, jsonrpc: '2.0' } : undefined;
}

export class SocketWriter extends AbstractMessageWriter implements MessageWriter {
  readonly #socket: WebSocket;
  readonly #onTooLarge: (method: string) => void;

  /** `onTooLarge` hears of a notification that no message can hold. */
  constructor(socket: WebSocket, onTooLarge: (method: string) => void) {
    super();
    this.#socket = socket;
    this.#onTooLarge = onTooLarge;
  }

  write(message: Message): Promise<void> {
    // Resolved at once: ws keeps the order and queues by itself, its error ends the connection, and a slow peer is seen
    // by the amount it has buffered.
    const text = encode(message);
    if (text !== undefined) this.#socket.send(text, { binary: false }, ignoreSendError);
    else if (Message.isNotification(message)) this.#onTooLarge(message.method);
    return Promise.resolve();
  }

  end(): void {
    this.#socket.close(1000);
  }
}

/**
 * A message over the limit would make the other side close the connection, and everybody else's requests with it: an answer
 * becomes an error, and a notification is left out (undefined), for the next connection would be sent the same.
 */
function encode(message: Message): string | undefined {
  const text = JSON.stringify(message);
  if (Message.isRequest(message) || !isOverLimit(text)) return text;
  if (!Message.isResponse(message)) return undefined;
  const error = new StrataError('ANSWER_TOO_LARGE', `the answer is larger than the ${LIMITS.maxMessageBytes} bytes of a message`);
  return JSON.stringify({ jsonrpc: '2.0', id: message.id, error: toResponseError(error).toJson() });
}

function isOverLimit(text: string): boolean {
  // A UTF-16 unit is three bytes of UTF-8 at most: the usual message need not be counted.
  return text.length * 3 > LIMITS.maxMessageBytes && Buffer.byteLength(text) > LIMITS.maxMessageBytes;
}

/** A failed send is followed by the socket's `close`, where everything pending is rejected. */
export function ignoreSendError(_error?: Error): void {}
