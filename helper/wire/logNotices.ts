import { formatBytes, type LogNotice, logNoticeSchema } from '../protocol/index.ts';

/** From the bytes of the channel `bytes` of a container's output to what they say. */
export class NoticeReader {
  readonly #decoder = new TextDecoder();
  #rest = '';

  push(bytes: Uint8Array): LogNotice[] {
    const lines = `${this.#rest}${this.#decoder.decode(bytes, { stream: true })}`.split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.flatMap(parseNotice);
  }
}

/** What a newer helper says besides is not for this client. */
function parseNotice(line: string): LogNotice[] {
  try {
    const notice = logNoticeSchema.safeParse(JSON.parse(line));
    return notice.success ? [notice.data] : [];
  } catch {
    return [];
  }
}

const reasons: Readonly<Record<LogNotice['missed']['reason'], string>> = {
  rotated: 'the log was rotated before it was read',
  diskFull: 'the disk of the log was full',
  damaged: 'a crash of the host has damaged the log',
};

/** For people: "12 MiB of output are missing here: the log was rotated before it was read". */
export function noticeWords({ missed: { bytes, reason } }: LogNotice): string {
  return `${formatBytes(bytes)} of output ${bytes === 1 ? 'is' : 'are'} missing here: ${reasons[reason]}`;
}
