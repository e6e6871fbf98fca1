// Written by the one quoting of all clients; read here, beside its counterpart.
export { joinCommand } from '../../helper/protocol/index.ts';

/**
 * Splits a command line into arguments as a POSIX shell would, without expanding anything: blanks separate, quotes and
 * backslashes protect. Throws an Error with words for people when a quote is not closed.
 */
export function splitCommand(line: string): string[] {
  const parts: string[] = [];
  let current: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let i = 0; i < line.length; i += 1) {
    const char = line.charAt(i);
    if (quote === "'") {
      if (char === "'") quote = undefined;
      else current = (current ?? '') + char;
    } else if (char === '\\' && i + 1 < line.length && (quote === undefined || '"\\$`'.includes(line.charAt(i + 1)))) {
      i += 1;
      current = (current ?? '') + line.charAt(i);
    } else if (quote === '"') {
      if (char === '"') quote = undefined;
      else current = (current ?? '') + char;
    } else if (char === '"' || char === "'") {
      quote = char;
      current ??= '';
    } else if (/\s/.test(char)) {
      if (current !== undefined) parts.push(current);
      current = undefined;
    } else {
      current = (current ?? '') + char;
    }
  }
  if (quote !== undefined) throw new Error(`A quote (${quote}) is not closed.`);
  if (current !== undefined) parts.push(current);
  return parts;
}
