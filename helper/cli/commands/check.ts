import type { Command } from 'commander';
import { type Finding, formatBytes, type LayerCheck, type Severity, severities } from '../../protocol/index.ts';
import { type Context, containerElseImage, print, printJson, withConnection } from '../context.ts';
import { plainText, table } from '../output.ts';
import { parseShare, parseSize, UsageError } from '../values.ts';

interface CheckFlags {
  readonly lowestEfficiency?: string;
  readonly highestWastedBytes?: string;
  readonly highestUserWastedPercent?: string;
  readonly failOn?: string;
  readonly paths: string;
  readonly json?: true;
}

/** A bound that was set, and whether it holds. */
interface Verdict {
  readonly flag: string;
  readonly passed: boolean;
  readonly words: string;
}

/** `strata check`, and `strata image check`. 0: all bounds hold, 1: one does not, 2: it could not be checked. */
export function addCheckCommand(program: Command, context: () => Context): void {
  program
    .command('check')
    .description('what is wasted in the layers of a container or image, and what should not be there')
    .argument('<name>', 'a container, else an image')
    .option('--lowest-efficiency <share>', "fail below this efficiency by dive's definition: 0.9 or 90%")
    .option('--highest-wasted-bytes <size>', "fail above so many wasted bytes by dive's definition: 20MB")
    .option('--highest-user-wasted-percent <share>', 'fail above this share of wasted bytes, of all layers but the lowest: 0.1 or 10%')
    .option('--fail-on <severity>', `fail where there is a finding so severe: ${severities.join(', ')}`)
    .option('--paths <count>', 'of each kind', '10')
    .option('--json', 'as JSON')
    .action(async (name: string, flags: CheckFlags) => {
      const bounds = boundsOf(flags);
      const count = parseCount(flags.paths);
      const check = await withConnection(context(), (connection) =>
        containerElseImage(
          name,
          () => connection.request('layer.check', { kind: 'container', container: name }),
          () => connection.request('layer.check', { kind: 'image', image: name }),
        ),
      );
      const verdicts = bounds.map((bound) => bound(check));
      if (flags.json === true) printJson({ ...check, passed: verdicts.every(({ passed }) => passed), bounds: verdicts });
      else print(checkText(check, verdicts, count));
      if (verdicts.some(({ passed }) => !passed)) process.exitCode = 1;
    });
}

function parseCount(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`--paths "${text}" is not a whole number`);
  return Number(text);
}

/** What was asked for, read before anything is done. */
function boundsOf(flags: CheckFlags): ((check: LayerCheck) => Verdict)[] {
  const bounds: ((check: LayerCheck) => Verdict)[] = [];
  if (flags.lowestEfficiency !== undefined) {
    const flag = '--lowest-efficiency';
    const lowest = parseShare(flag, flags.lowestEfficiency);
    bounds.push(({ dive: { efficiency } }) => ({
      flag,
      passed: efficiency >= lowest,
      words: `efficiency ${percent(efficiency)}, at least ${percent(lowest)}`,
    }));
  }
  if (flags.highestWastedBytes !== undefined) {
    const flag = '--highest-wasted-bytes';
    const highest = parseSize(flag, flags.highestWastedBytes);
    bounds.push(({ dive: { wastedBytes } }) => ({
      flag,
      passed: wastedBytes <= highest,
      words: `wasted ${formatBytes(wastedBytes)}, at most ${formatBytes(highest)}`,
    }));
  }
  if (flags.highestUserWastedPercent !== undefined) {
    const flag = '--highest-user-wasted-percent';
    const highest = parseShare(flag, flags.highestUserWastedPercent);
    bounds.push(({ dive: { userWastedPercent } }) => ({
      flag,
      passed: userWastedPercent <= highest,
      words: `wasted of all layers but the lowest ${percent(userWastedPercent)}, at most ${percent(highest)}`,
    }));
  }
  if (flags.failOn !== undefined) bounds.push(severityBound(flags.failOn));
  return bounds;
}

function severityBound(text: string): (check: LayerCheck) => Verdict {
  const least = severities.findIndex((severity) => severity === text);
  if (least === -1) throw new UsageError(`--fail-on "${text}" is none of ${severities.join(', ')}`);
  return ({ rules }) => {
    const count = rules.reduce((sum, rule) => sum + (severities.indexOf(rule.severity) >= least ? rule.count : 0), 0);
    return { flag: '--fail-on', passed: count === 0, words: `${count} findings of severity ${severities.slice(least).join(' or ')}` };
  };
}

/** Never 100 % where something is missing from it. */
function percent(share: number): string {
  const tenths = share < 1 ? Math.min(Math.floor(share * 1000) / 10, 99.9) : Math.round(share * 1000) / 10;
  return `${tenths} %`;
}

function checkText(check: LayerCheck, verdicts: readonly Verdict[], count: number): string {
  const parts = [layersText(check), scoreText(check)];
  if (check.worst.length > 0) parts.push(wasteText(check, count));
  parts.push(...rulesText(check, count));
  parts.push(...check.limitations.map((text) => `Note: ${text}\n`));
  if (verdicts.length > 0) parts.push(verdicts.map(({ passed, words }) => `${passed ? 'passed' : 'FAILED'}: ${words}\n`).join(''));
  return parts.join('\n');
}

function layersText({ layers }: LayerCheck): string {
  const rows = layers.map(({ index, role, entries, storedBytes, seenBytes, cumulativeBytes, createdBy }) => [
    String(index),
    role,
    String(entries),
    formatBytes(storedBytes),
    formatBytes(seenBytes),
    formatBytes(storedBytes - seenBytes),
    formatBytes(cumulativeBytes),
    plainText(createdBy ?? '-', 60),
  ]);
  return table(['#', 'ROLE', 'ENTRIES', 'STORED', 'SEEN', 'WASTED', 'WITH BELOW', 'MADE BY'], rows);
}

function scoreText({ efficiency, storedBytes, seenBytes, dive }: LayerCheck): string {
  return table(
    ['', 'EFFICIENCY', 'WASTED'],
    [
      ['exact: bytes that are seen, of those stored', percent(efficiency), formatBytes(storedBytes - seenBytes)],
      [
        "by dive's definition",
        percent(dive.efficiency),
        `${formatBytes(dive.wastedBytes)}, ${percent(dive.userWastedPercent)} of all layers but the lowest`,
      ],
    ],
  );
}

function wasteText({ worst, wastedPaths }: LayerCheck, count: number): string {
  const shown = worst.slice(0, count);
  const rows = shown.map(({ path, bytes, layers }) => [formatBytes(bytes), layers.join(','), plainText(path, 200)]);
  return `${table(['WASTED', 'LAYERS', 'PATH'], rows)}${moreLine(wastedPaths - shown.length)}`;
}

function rulesText({ rules, findings }: LayerCheck, count: number): string[] {
  return rules.map((rule) => {
    const all = findings.filter((finding) => finding.rule === rule.rule);
    const shown = all.slice(0, count);
    const cost = rule.bytes === 0 ? '' : `, ${formatBytes(rule.bytes)}`;
    const first = all[0];
    return [
      `${severityWord(rule.severity)} ${rule.rule}: ${rule.count}${rule.more && all.length >= rule.count ? ' or more' : ''}${cost}\n`,
      ...shown.map((finding) => `  ${findingText(finding)}\n`),
      moreLine(rule.count - shown.length),
      first === undefined ? '' : `  → ${first.remedy}\n`,
    ].join('');
  });
}

function findingText({ path, layer, bytes, message, hiddenBy, linkTarget }: Finding): string {
  const target = linkTarget === undefined ? '' : ` (${plainText(linkTarget, 100)})`;
  const hiding = hiddenBy === undefined ? '' : `; layer ${hiddenBy.layer} ${hiddenBy.deleted ? 'deletes' : 'replaces'} it`;
  const size = bytes === 0 ? '' : `, ${formatBytes(bytes)}`;
  return `${plainText(path, 200)} in layer ${layer}${size}: ${message}${target}${hiding}`;
}

function severityWord(severity: Severity): string {
  return severity.toUpperCase().padEnd(6);
}

function moreLine(left: number): string {
  return left > 0 ? `  and ${left} more\n` : '';
}
