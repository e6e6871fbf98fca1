// A settings.json of VS Code: JSON with comments, written by hand, so that what is not ours must stay as it is.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const tokens = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,/]+/g;

/** Where the object starts, and what is in it at the top: `[start, end]` in the text of each value that is one token. */
function scan(text) {
  const found = [...text.matchAll(tokens)].filter(([token]) => !/^\/[/*]/.test(token));
  const values = new Map();
  let depth = 0;
  for (const [index, { 0: token }] of found.entries()) {
    if (token === '{' || token === '[') depth += 1;
    else if (token === '}' || token === ']') depth -= 1;
    const value = found[index + 2];
    if (depth !== 1 || !token.startsWith('"') || found[index + 1]?.[0] !== ':' || value === undefined) continue;
    values.set(JSON.parse(token), [value.index, value.index + value[0].length]);
  }
  if (found[0]?.[0] !== '{' || depth !== 0) return undefined;
  return { bodyStart: found[0].index + 1, isEmpty: found[1]?.[0] === '}', values };
}

/**
 * The text with these settings in it; undefined when it is no settings file.
 * @param {string} text
 * @param {Readonly<Record<string, string>>} settings
 * @returns {string | undefined}
 */
export function withSettings(text, settings) {
  let result = text.trim() === '' ? '{\n}\n' : text;
  for (const [key, value] of Object.entries(settings)) {
    const file = scan(result);
    if (file === undefined) return undefined;
    const present = file.values.get(key);
    if (present !== undefined) {
      result = result.slice(0, present[0]) + JSON.stringify(value) + result.slice(present[1]);
    } else {
      const line = `\n    ${JSON.stringify(key)}: ${JSON.stringify(value)}${file.isEmpty ? '' : ','}`;
      result = result.slice(0, file.bodyStart) + line + result.slice(file.bodyStart);
    }
  }
  return result;
}

/** Writes them; false when the file is none that could be changed without harm. */
export function writeSettings(file, settings) {
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const after = withSettings(before, settings);
  if (after === undefined) return false;
  if (after === before) return true;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, after);
  return true;
}
