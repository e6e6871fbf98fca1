/** One challenge of a WWW-Authenticate header (RFC 9110, 11.6.1). */
export interface Challenge {
  /** Lower case: "bearer", "basic". */
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameter = new RegExp(`^(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))\\s*(?:,\\s*)?`);
const schemeStart = new RegExp(`^(${token})(?:\\s+|,\\s*|$)`);

/** What cannot be read ends the list: a registry that writes nonsense gets no credentials. */
export function parseChallenges(header: string): Challenge[] {
  const found: { scheme: string; parameters: Record<string, string> }[] = [];
  let rest = header.trim().slice(0, 4096);
  while (rest !== '') {
    const asParameter = parameter.exec(rest);
    const current = found.at(-1);
    if (asParameter !== null && current !== undefined) {
      const [whole, name = '', quoted, plain] = asParameter;
      current.parameters[name.toLowerCase()] = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? '';
      rest = rest.slice(whole.length);
      continue;
    }
    const asScheme = schemeStart.exec(rest);
    if (asScheme?.[1] === undefined) return found;
    found.push({ scheme: asScheme[1].toLowerCase(), parameters: Object.create(null) as Record<string, string> }); // names are a stranger's
    rest = rest.slice(asScheme[0].length);
  }
  return found;
}
