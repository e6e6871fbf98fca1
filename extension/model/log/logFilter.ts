export interface LogFilter {
  /** As it was typed. */
  readonly text: string;
  readonly lets: (line: string) => boolean;
}

export type ParsedFilter =
  | { readonly kind: 'filter'; readonly filter: LogFilter | undefined }
  | { readonly kind: 'invalid'; readonly message: string };

/** A pattern may take time that grows with the length of what it is tried on; no more of a line than this is looked at. */
const MAX_TRIED = 4096;

/**
 * "error": lines with this text, large and small letters alike. "/^GET .* 5\d\d/": lines that match. "!" before either:
 * the other lines. Nothing: no filter.
 */
export function parseFilter(typed: string): ParsedFilter {
  const text = typed.trim();
  if (text === '') return { kind: 'filter', filter: undefined };
  const isInverted = text.startsWith('!') && text.length > 1;
  const pattern = isInverted ? text.slice(1).trim() : text;
  const lets = matcherOf(pattern);
  if (typeof lets === 'string') return { kind: 'invalid', message: lets };
  return { kind: 'filter', filter: { text, lets: isInverted ? (line) => !lets(line) : lets } };
}

function matcherOf(pattern: string): LogFilter['lets'] | string {
  const expression = /^\/(.+)\/(i?)$/.exec(pattern);
  if (expression === null) {
    const wanted = pattern.toLowerCase();
    return (line) => line.toLowerCase().includes(wanted);
  }
  try {
    const regExp = new RegExp(expression[1] ?? '', expression[2]);
    return (line) => regExp.test(line.length > MAX_TRIED ? line.slice(0, MAX_TRIED) : line);
  } catch (error) {
    return error instanceof Error ? `${error.message}.` : String(error);
  }
}
