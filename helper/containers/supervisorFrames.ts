/** Frames of docs/supervisor.md: `u32 payload bytes · u8 type · u8[3] zero · u32 session · payload`, little endian. */
export const SupervisorFrameType = { request: 1, response: 2, event: 3, stdin: 4, stdout: 5, stderr: 6, credit: 7 } as const;
export type SupervisorFrameType = (typeof SupervisorFrameType)[keyof typeof SupervisorFrameType];

export interface SupervisorFrame {
  readonly type: SupervisorFrameType;
  /** 0: the container's main process. */
  readonly session: number;
  readonly payload: Uint8Array;
}

const headerBytes = 12;
export const MAX_SUPERVISOR_PAYLOAD = 1024 * 1024;

export function encodeSupervisorFrame(frame: SupervisorFrame): Uint8Array {
  if (frame.payload.byteLength > MAX_SUPERVISOR_PAYLOAD) throw new RangeError('a frame holds 1 MiB at most');
  const bytes = new Uint8Array(headerBytes + frame.payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, frame.payload.byteLength, true);
  view.setUint8(4, frame.type);
  view.setUint32(8, frame.session, true);
  bytes.set(frame.payload, headerBytes);
  return bytes;
}

/** Takes a stream of bytes in any pieces and gives whole frames. Throws on what can be no frame; it is of no use then. */
export class SupervisorFrameReader {
  #rest: Uint8Array = new Uint8Array(0);

  push(chunk: Uint8Array): SupervisorFrame[] {
    let bytes = this.#rest.byteLength === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: SupervisorFrame[] = [];
    while (bytes.byteLength >= headerBytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
      const size = view.getUint32(0, true);
      const type = view.getUint8(4);
      if (size > MAX_SUPERVISOR_PAYLOAD || !isFrameType(type)) throw new Error(`not a frame: type ${type}, ${size} bytes`);
      if (bytes.byteLength < headerBytes + size) break;
      frames.push({ type, session: view.getUint32(8, true), payload: bytes.subarray(headerBytes, headerBytes + size) });
      bytes = bytes.subarray(headerBytes + size);
    }
    this.#rest = bytes;
    return frames;
  }
}

function isFrameType(value: number): value is SupervisorFrameType {
  return value >= SupervisorFrameType.request && value <= SupervisorFrameType.credit;
}
