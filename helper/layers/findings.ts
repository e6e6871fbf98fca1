import type { EntryMatch, LayerIndex } from '../native/addon.ts';
import { type Finding, type LayerCheck, severities } from '../protocol/index.ts';
import { ByteBudget } from './byteBudget.ts';
import { type FindingRule, findingRules } from './findingRules.ts';

/** Named of each rule. */
const mostFindings = 100;
/** Looked into for each rule that asks for content. */
const mostFiles = 400;
const headBytes = 16 * 1024;
/** Compared in one check, of both files together: a few seconds where nothing of it is in memory. */
const mostComparedBytes = 1024 * 1024 * 1024;
const mostTextBytes = 2 * 1024 * 1024;

type Found = Pick<LayerCheck, 'findings' | 'rules'>;
type Selected = Awaited<ReturnType<LayerIndex['select']>>[number];
/** `isWhole`: there may be no more of it than it counts. */
type Proven = Selected & { readonly isWhole: boolean };
type Index = Pick<LayerIndex, 'head' | 'isCopyOfBelow' | 'select'>;

/** What the rules find in a built index. */
export async function findAll(index: Index, signal: AbortSignal, rules: readonly FindingRule[] = findingRules): Promise<Found> {
  const results = await index.select(
    rules.map(({ query }) => query),
    { mostMatches: mostFiles },
  );
  const room = new ByteBudget(mostTextBytes);
  const comparisons = new ByteBudget(mostComparedBytes);
  const found: Found = { findings: [], rules: [] };
  for (const [at, rule] of worstFirst(rules)) {
    const result = results[at];
    if (result === undefined || result.count === 0) continue;
    signal.throwIfAborted();
    const proof = proofOf(index, rule, comparisons);
    const proven = proof === undefined ? { ...result, isWhole: true } : await provenOf(result, proof, signal);
    if (proven.count === 0) continue;
    const findings = proven.matches.slice(0, mostFindings).map((match) => findingOf(rule, match));
    const told = findings.filter((finding) => room.takeText(finding));
    found.findings.push(...told);
    const more = told.length < proven.count || !proven.isWhole;
    found.rules.push({ rule: rule.id, severity: rule.severity, count: proven.count, bytes: proven.bytes, more });
  }
  return found;
}

function worstFirst(rules: readonly FindingRule[]): [number, FindingRule][] {
  const rank = ({ severity }: FindingRule): number => -severities.indexOf(severity);
  return [...rules.entries()].sort(([, left], [, right]) => rank(left) - rank(right));
}

/** Undefined: it was not looked at, there is too much of it. */
type Proof = (match: EntryMatch) => Promise<boolean | undefined>;

/** What a name, or size and time, do not prove; undefined: nothing more is asked. */
function proofOf(index: Index, { contains, isCopy }: FindingRule, comparisons: ByteBudget): Proof | undefined {
  if (contains !== undefined) {
    return async ({ entry }) => contains.test(Buffer.from(await index.head(entry, headBytes)).toString('latin1'));
  }
  if (isCopy === true) return async ({ entry, bytes }) => (comparisons.take(2 * bytes) ? await index.isCopyOfBelow(entry) : undefined);
  return undefined;
}

/** A file that cannot be read any more proves nothing. */
async function provenOf({ matches, count }: Selected, proof: Proof, signal: AbortSignal): Promise<Proven> {
  const proven: EntryMatch[] = [];
  let isWhole = matches.length === count;
  for (const match of matches) {
    signal.throwIfAborted();
    const answer = await proof(match).catch(() => false);
    if (answer === true) proven.push(match);
    isWhole &&= answer !== undefined;
  }
  return { matches: proven, count: proven.length, bytes: proven.reduce((sum, { bytes }) => sum + bytes, 0), isWhole };
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
