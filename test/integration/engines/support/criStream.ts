import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import type { Executed } from './cri.ts';
import type { EnginePlace } from './place.ts';

/** The first byte of each message of the protocol v4.channel.k8s.io. */
const Channel = { stdin: 0, stdout: 1, stderr: 2, result: 3, resize: 4 } as const;

/** An exec or attach session, as `kubectl exec -it` has it through the kubelet. */
export class CriStream {
  readonly #socket: WebSocket;
  readonly #text = { [Channel.stdout]: '', [Channel.stderr]: '', [Channel.result]: '' };
  readonly #ended: Promise<void>;
  #onText: () => void = () => {};

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (message: Buffer) => {
      const channel = message[0];
      if (channel === Channel.stdout || channel === Channel.stderr || channel === Channel.result) {
        this.#text[channel] += message.subarray(1).toString();
      }
      this.#onText();
    });
    this.#ended = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  /** `url` is one of the engine's host: its loopback is that of the place. */
  static async open(place: EnginePlace, url: string): Promise<CriStream> {
    const { hostname, port, pathname } = new URL(url);
    const script = `exec 3<>/dev/tcp/${hostname}/${port} || exit; cat <&3 & cat >&3; kill $!`;
    const [program = '', ...args] = place.inNetwork('bash', '-c', script);
    const relay = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const socket = new WebSocket(`ws://${hostname}:${port}${pathname}`, ['v4.channel.k8s.io'], {
      createConnection: () => Duplex.from({ readable: relay.stdout, writable: relay.stdin }) as never, // all that ws needs of a socket
    });
    socket.once('close', () => relay.kill());
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return new CriStream(socket);
  }

  type(text: string): void {
    this.#socket.send(Buffer.concat([Buffer.from([Channel.stdin]), Buffer.from(text)]));
  }

  resize(columns: number, rows: number): void {
    this.#socket.send(Buffer.concat([Buffer.from([Channel.resize]), Buffer.from(JSON.stringify({ Width: columns, Height: rows }))]));
  }

  async says(text: string): Promise<void> {
    while (!this.#text[Channel.stdout].includes(text)) await new Promise<void>((resolve) => (this.#onText = resolve));
  }

  /** To its end. What failed is told as a Status object of Kubernetes. */
  async end(): Promise<Executed> {
    await this.#ended;
    const { [Channel.stdout]: stdout, [Channel.stderr]: stderr, [Channel.result]: result } = this.#text;
    const { status, details } = JSON.parse(result) as { status: string; details?: { causes?: { reason: string; message: string }[] } };
    const code = details?.causes?.find(({ reason }) => reason === 'ExitCode')?.message;
    return { status: status === 'Success' ? 0 : Number(code), stdout, stderr };
  }

  close(): void {
    this.#socket.close();
  }
}
