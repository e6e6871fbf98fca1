import * as z from 'zod';

const timestamp = z.iso.datetime({ offset: true }).max(40);

/** A time that an image's config gives, whose text is the image maker's: null where it is none. */
export function timeOf(text: string | undefined): string | null {
  return timestamp.safeParse(text).data ?? null;
}

/** Somebody else's text, no longer than the wire lets it be. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** Somebody else's text for a message: on one line, without what a terminal would obey, and not long. */
export function plain(text: string): string {
  return cut(text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').trim(), 300);
}
