import { type Command, Option } from 'commander';
import { type EventFilters, type EventGap, type EventRecord, eventFiltersSchema } from '../../protocol/index.ts';
import { type Context, print } from '../context.ts';
import { collect } from '../createOptions.ts';
import { followEvents } from '../eventFollower.ts';
import { plainText } from '../output.ts';
import { parseMoment, UsageError } from '../values.ts';

interface EventsFlags {
  readonly since?: string;
  readonly until?: string;
  readonly filter: string[];
  readonly format: 'text' | 'json';
  readonly json?: true;
}

export function addEventsCommand(program: Command, context: () => Context): void {
  program
    .command('events')
    .description('what happens, as it happens, and what has happened')
    .option('--since <time>', 'from a time on, or how long ago (10m); without it from now on')
    .option('--until <time>', 'to a time (such as now), and not until ctrl-c')
    .option('-f, --filter <key=value>', `only some: ${filterKeys.join(', ')}; may be repeated`, collect, [])
    .addOption(new Option('--format <format>', 'how').choices(['text', 'json']).default('text'))
    .option('--json', 'as --format json: a line for each')
    .action(async (flags: EventsFlags) => {
      const nowMs = Date.now();
      const asJson = flags.json === true || flags.format === 'json';
      await followEvents(context(), {
        since: flags.since === undefined ? undefined : { kind: 'time', timeMs: parseMoment('--since', flags.since, nowMs) },
        untilMs: flags.until === undefined ? undefined : parseMoment('--until', flags.until, nowMs),
        filters: parseEventFilters(flags.filter),
        take: (line) => {
          if (asJson) print(`${JSON.stringify(line)}\n`);
          else if ('gap' in line) process.stderr.write(`strata: ${gapText(line.gap)}\n`);
          else print(eventText(line));
        },
      });
    });
}

const filterKeys = Object.keys(eventFiltersSchema.shape);

/** "type=container", "event=die", "container=web", "image=busybox", "label=app=shop". */
export function parseEventFilters(texts: readonly string[]): EventFilters {
  const values = new Map<string, string[]>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const key = at === -1 ? text : text.slice(0, at);
    if (at === -1 || at === text.length - 1 || !filterKeys.includes(key)) {
      throw new UsageError(`--filter "${text}" is none of ${filterKeys.map((known) => `${known}=…`).join(', ')}`);
    }
    values.set(key, [...(values.get(key) ?? []), text.slice(at + 1)]);
  }
  const parsed = eventFiltersSchema.safeParse(Object.fromEntries(values));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new UsageError(`--filter ${String(issue?.path[0])}: ${issue?.message ?? 'not valid'}`);
}

/** As Docker prints it, with the number of digits of an id that our lists have. */
export function eventText({ time, type, action, actor }: EventRecord): string {
  const { id, name, image, labels = {}, attributes } = actor;
  const about: Record<string, string> = {
    ...labels,
    ...(image === undefined ? {} : { image }),
    ...(name === '' ? {} : { name }),
    ...attributes,
  };
  const words = Object.entries(about)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  const shortId = id.replace(/^sha256:/, '').slice(0, 12);
  // Labels and commands are somebody else's text.
  return `${time} ${type} ${action} ${shortId}${words.length === 0 ? '' : ` (${plainText(words.join(', '), maxAboutLength)})`}\n`;
}

const maxAboutLength = 4096;

function gapText({ afterSeq, beforeSeq }: EventGap['gap']): string {
  const many = beforeSeq > afterSeq + 1 ? `events ${afterSeq + 1} to ${beforeSeq - 1}` : `events after number ${afterSeq}`;
  return `${many} are no longer known: list what there is ("strata ps --all")`;
}
