import { Channel, StrataError } from '../protocol/index.ts';
import type { Connection } from './connection.ts';
import type { WireStream } from './stream.ts';

/** What a client needs of its connection. */
export type UploadWire = Pick<Connection, 'request' | 'stream'>;

/** Sends this to the helper, for a request that takes the stream. Throws what the source throws, else what the request does. */
export async function upload<T>(wire: UploadWire, source: AsyncIterable<Uint8Array>, use: (stream: number) => Promise<T>): Promise<T> {
  const { stream: id } = await wire.request('image.openUpload', {});
  const stream = wire.stream(id);
  const sent = send(stream, source).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    return await use(id);
  } catch (error) {
    stream.close(new StrataError('CANCELLED', 'the upload was given up'));
    // What could not be read is why the request failed, and was told before it; what is still read is not.
    throw (await Promise.race([sent, Promise.resolve(undefined)])) ?? error;
  }
}

async function send(stream: WireStream, source: AsyncIterable<Uint8Array>): Promise<void> {
  stream.consume({ data: () => {} });
  try {
    for await (const bytes of source) await stream.write(Channel.bytes, bytes);
    stream.end(Channel.bytes);
  } catch (error) {
    // Refused by the helper meanwhile, whose answer tells why.
    if (stream.signal.aborted) return;
    stream.close(error instanceof StrataError ? error : new StrataError('CANCELLED', 'what is sent cannot be read', { cause: error }));
    throw error;
  }
}
