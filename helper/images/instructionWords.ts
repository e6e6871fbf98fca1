/**
 * The words of a Dockerfile instruction: separated by blanks, with quotes and backslashes as a shell has them, and `$NAME`, `${NAME}`, `${NAME:-else}` and
 * `${NAME:+then}` of the image's variables (not within single quotes). Undefined where a quote has no end. Pure.
 */
export function instructionWords(text: string, variable: (name: string) => string | undefined): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (quote === "'" && char !== "'") word = (word ?? '') + char;
    else if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
      word ??= '';
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (char === '\\' && at + 1 < text.length && (quote === '' || /["\\$]/.test(text.charAt(at + 1)))) {
      at += 1;
      word = (word ?? '') + text.charAt(at);
    } else if (char === '$') {
      const found = substitution(text.slice(at), variable);
      word = (word ?? '') + found.value;
      at += found.length - 1;
    } else word = (word ?? '') + char;
  }
  if (quote !== '') return undefined;
  if (word !== undefined) words.push(word);
  return words;
}

function substitution(text: string, variable: (name: string) => string | undefined): { value: string; length: number } {
  const match = /^\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::([-+])([^{}]*))?\})/.exec(text);
  if (match === null) return { value: '$', length: 1 };
  const [whole, plain, braced, kind, other = ''] = match;
  const value = variable(plain ?? braced ?? '') ?? '';
  if (kind === '-') return { value: value === '' ? other : value, length: whole.length };
  if (kind === '+') return { value: value === '' ? '' : other, length: whole.length };
  return { value, length: whole.length };
}
