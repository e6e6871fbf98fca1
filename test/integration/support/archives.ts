import { Channel, type ImageSummary } from '../../../helper/protocol/index.ts';
import type { Connection } from '../../../helper/wire/connection.ts';

/** Imports the tar of a root file system as a client does that has its bytes. */
export async function importTar(connection: Connection, bytes: Buffer, reference: string): Promise<ImageSummary> {
  const { stream } = await connection.request('image.openUpload', {});
  const imported = connection.request('image.import', { source: { kind: 'stream', stream }, reference, command: ['sh'] });
  const upload = connection.stream(stream);
  upload.consume({ data: () => {} });
  const sent = upload.write(Channel.bytes, bytes).then(() => upload.end(Channel.bytes));
  const [{ image }] = await Promise.all([imported, sent.catch(() => {})]);
  return image;
}
