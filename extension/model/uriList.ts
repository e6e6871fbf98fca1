/** The URIs of a text/uri-list (RFC 2483): one a line, "#" begins a comment. Pure. */
export function parseUriList(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** The same, written. */
export function uriList(uris: readonly string[]): string {
  return uris.join('\r\n');
}
