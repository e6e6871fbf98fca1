/** Escape sequences of ECMA-48: CSI, OSC and the other strings with their end, then whatever else begins with ESC. */
const ESCAPES = /\x1b(?:\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x20-\x2f]*[\x30-\x7e]?)/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]/g;

/**
 * A line of output as a line of a document: without colours, with what a terminal would have shown last where the program
 * wrote over it, and with a picture for each other control character. A document must not end a line where the log does not.
 */
export function readableLine(line: string): string {
  // Most lines hold nothing of the kind.
  if (!/[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]/.test(line)) return line;
  const plain = line.replaceAll(ESCAPES, '');
  const overwritten = plain.replace(/\r+$/, '');
  return overwritten.slice(overwritten.lastIndexOf('\r') + 1).replaceAll(CONTROLS, picture);
}

function picture(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? '\u2421' : '\ufffd';
}
