import { Channel, type ContainerId, StrataError } from '../../helper/protocol/index.ts';
import type { HelperClient } from '../client/helperClient.ts';

/** What a command in a container wrote to stdout; what runs longer or writes more than it should is hung up. */
export async function captured(
  client: Pick<HelperClient, 'request' | 'stream'>,
  { container, command }: { readonly container: ContainerId; readonly command: readonly string[] },
  { timeoutMs, maxBytes }: { readonly timeoutMs: number; readonly maxBytes: number },
): Promise<string> {
  const { stream: id } = await client.request('container.exec', { container, command: [...command] });
  if (id === undefined) throw new Error('the helper gave no stream for an exec session');
  const stream = client.stream(id);
  const timer = setTimeout(() => stream.close(new StrataError('TIMEOUT', `${command[0] ?? ''} took too long`)), timeoutMs);
  try {
    return await new Promise<string>((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      let size = 0;
      stream.consume({
        data(channel, bytes) {
          if (channel !== Channel.stdout || size > maxBytes) return;
          size += bytes.byteLength;
          chunks.push(bytes);
          if (size > maxBytes) stream.close();
        },
        closed: (error) => (error === undefined ? resolve(Buffer.concat(chunks).toString('utf8')) : reject(error)),
      });
    });
  } finally {
    clearTimeout(timer);
  }
}
