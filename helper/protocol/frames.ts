/**
 * Binary stream frames: bulk bytes beside the JSON-RPC text messages, on the same WebSocket.
 *
 *   u8 kind · u8 channel · u16 zero · u32 stream id (big endian) · payload
 *
 * A sender may only send as many payload bytes of `data` as the receiver has granted with `credit`; both start at 0, and
 * each side grants LIMITS.streamWindowBytes when it is ready. `end` closes one direction of one channel; `close` ends the
 * stream for good, from either side, with a reason as UTF-8 JSON of `errorDataSchema` + message, or empty for success.
 */
export const FRAME_HEADER_BYTES = 8;

export const FrameKind = { data: 1, credit: 2, end: 3, close: 4 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** `bytes` is for streams that have a single content (a file, an archive), and for what the helper says between a container's output (logNoticeSchema). */
export const Channel = { stdin: 0, stdout: 1, stderr: 2, bytes: 3 } as const;
export type Channel = (typeof Channel)[keyof typeof Channel];

export type Frame =
  | { readonly kind: 'data'; readonly streamId: number; readonly channel: Channel; readonly payload: Uint8Array }
  | { readonly kind: 'credit'; readonly streamId: number; readonly channel: Channel; readonly bytes: number }
  | { readonly kind: 'end'; readonly streamId: number; readonly channel: Channel }
  | { readonly kind: 'close'; readonly streamId: number; readonly payload: Uint8Array };

export function encodeFrame(frame: Frame): Uint8Array {
  const payload = framePayload(frame);
  const out = new Uint8Array(FRAME_HEADER_BYTES + payload.byteLength);
  const view = new DataView(out.buffer);
  view.setUint8(0, FrameKind[frame.kind]);
  view.setUint8(1, frame.kind === 'close' ? 0 : frame.channel);
  view.setUint32(4, frame.streamId);
  out.set(payload, FRAME_HEADER_BYTES);
  return out;
}

function framePayload(frame: Frame): Uint8Array {
  switch (frame.kind) {
    case 'data':
    case 'close':
      return frame.payload;
    case 'credit': {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setUint32(0, frame.bytes);
      return bytes;
    }
    case 'end':
      return new Uint8Array(0);
  }
}

/** Undefined for anything that is not a well-formed frame; the payload is a view of `data`, not a copy. */
export function decodeFrame(data: Uint8Array): Frame | undefined {
  if (data.byteLength < FRAME_HEADER_BYTES) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const channel = view.getUint8(1);
  const streamId = view.getUint32(4);
  const payload = data.subarray(FRAME_HEADER_BYTES);
  if (!isChannel(channel) || view.getUint16(2) !== 0 || streamId === 0) return undefined;
  switch (view.getUint8(0)) {
    case FrameKind.data:
      return payload.byteLength === 0 ? undefined : { kind: 'data', streamId, channel, payload };
    case FrameKind.credit:
      return payload.byteLength === 4 ? { kind: 'credit', streamId, channel, bytes: view.getUint32(FRAME_HEADER_BYTES) } : undefined;
    case FrameKind.end:
      return payload.byteLength === 0 ? { kind: 'end', streamId, channel } : undefined;
    case FrameKind.close:
      return { kind: 'close', streamId, payload };
    default:
      return undefined;
  }
}

function isChannel(value: number): value is Channel {
  return value >= Channel.stdin && value <= Channel.bytes;
}
