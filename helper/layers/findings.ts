import type { EntryMatch, LayerIndex } from '../native/addon.ts';
import { type Finding, type LayerCheck, severities } from '../protocol/index.ts';
import { type FindingRule, findingRules } from './findingRules.ts';
import { TextRoom } from './textRoom.ts';

/** Named of each rule. */
const mostFindings = 100;
/** Looked into for each rule that asks for content. */
const mostFiles = 400;
const headBytes = 16 * 1024;
const mostTextBytes = 2 * 1024 * 1024;

type Found = Pick<LayerCheck, 'findings' | 'rules'>;
type Head = Pick<LayerIndex, 'head' | 'select'>;

/** What the rules find in a built index. */
export async function findAll(index: Head, signal: AbortSignal, rules: readonly FindingRule[] = findingRules): Promise<Found> {
  const results = await index.select(
    rules.map(({ query }) => query),
    { mostMatches: mostFiles },
  );
  const room = new TextRoom(mostTextBytes);
  const found: Found = { findings: [], rules: [] };
  for (const [at, rule] of worstFirst(rules)) {
    const result = results[at];
    if (result === undefined || result.count === 0) continue;
    signal.throwIfAborted();
    const proven = rule.contains === undefined ? result : await lookInto(index, rule.contains, result.matches);
    if (proven.count === 0) continue;
    const findings = proven.matches.slice(0, mostFindings).map((match) => findingOf(rule, match));
    const told = findings.filter((finding) => room.takes(finding));
    found.findings.push(...told);
    const more = told.length < proven.count || result.matches.length < result.count;
    found.rules.push({ rule: rule.id, severity: rule.severity, count: proven.count, bytes: proven.bytes, more });
  }
  return found;
}

function worstFirst(rules: readonly FindingRule[]): [number, FindingRule][] {
  const rank = ({ severity }: FindingRule): number => -severities.indexOf(severity);
  return [...rules.entries()].sort(([, left], [, right]) => rank(left) - rank(right));
}

/** Those whose first bytes have what the rule asks for. A file that cannot be read any more proves nothing. */
async function lookInto(index: Head, contains: RegExp, matches: readonly EntryMatch[]) {
  const proven: EntryMatch[] = [];
  for (const match of matches) {
    const head = await index.head(match.entry, headBytes).catch(() => undefined);
    if (head !== undefined && contains.test(Buffer.from(head).toString('latin1'))) proven.push(match);
  }
  return { matches: proven, count: proven.length, bytes: proven.reduce((sum, { bytes }) => sum + bytes, 0) };
}

function findingOf({ id, severity, message, remedy }: FindingRule, match: EntryMatch): Finding {
  const { path, layer, bytes, hiddenBy, linkTarget } = match;
  return {
    rule: id,
    severity,
    path,
    layer,
    bytes,
    ...(hiddenBy === undefined ? {} : { hiddenBy }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
    message,
    remedy,
  };
}
