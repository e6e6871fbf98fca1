import { accessSync, constants, readFileSync } from 'node:fs';
import { getuid } from 'node:process';
import { test } from 'vitest';
import { type CgroupMode, cgroupMode } from './cgroupMode.ts';

/** What a test needs of the machine. Each key has one check below; an unknown one does not compile, and fails at run time. */
export interface Requirements {
  readonly root?: true;
  /** One of these. A file for one world only is named `*.v2.test.ts`: then it is not collected in the other. */
  readonly cgroup?: CgroupMode | readonly CgroupMode[];
  /** Programs that must be on PATH, e.g. peers of a benchmark. */
  readonly commands?: readonly string[];
  /** File systems the kernel must know, as /proc/filesystems names them. */
  readonly filesystems?: readonly string[];
}

function isOnPath(command: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => {
    try {
      accessSync(`${folder}/${command}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Says what is missing, or undefined. */
const checks: { readonly [K in keyof Requirements]-?: (need: NonNullable<Requirements[K]>) => string | undefined } = {
  root: () => (getuid?.() === 0 ? undefined : 'root'),
  cgroup: (need) => {
    const present = cgroupMode();
    return [need].flat().includes(present) ? undefined : `cgroup ${[need].flat().join(' or ')} (this host is ${present})`;
  },
  commands: (need) => {
    const missing = need.filter((command) => !isOnPath(command));
    return missing.length === 0 ? undefined : `the commands ${missing.join(', ')}`;
  },
  filesystems: (need) => {
    const known = readFileSync('/proc/filesystems', 'utf8').split(/\s+/);
    const missing = need.filter((name) => !known.includes(name));
    return missing.length === 0 ? undefined : `the file systems ${missing.join(', ')}`;
  },
};

function unmet(needs: Requirements): string[] {
  return Object.entries(needs).flatMap(([key, need]) => {
    const check = (checks as Record<string, ((need: never) => string | undefined) | undefined>)[key]; // Object.entries loses the key's type
    if (check === undefined) throw new Error(`requires(): no requirement is called '${key}'`);
    return check(need as never) ?? []; // ditto: key and value belong together
  });
}

const isStrict = process.env['STRICT'] === '1' || process.env['CI'] === 'true';

/**
 * vitest's `test` for tests that need something of the machine:
 *
 *     const test = requires({ root: true, cgroup: ['v1', 'hybrid'] });
 *     test('a busy loop is held to its quota', async () => { ... });
 *
 * Where the need is not met the tests are skipped, with the reason on the console; under STRICT=1 or CI=true they fail.
 */
export function requires(needs: Requirements): typeof test {
  const missing = unmet(needs);
  if (missing.length === 0) return test;
  const reason = `needs ${missing.join(' and ')}`;
  if (!isStrict) {
    console.warn(`skipped: ${reason}`);
    return test.skip as typeof test; // `.skip` lacks the chainable modifiers, which a skipped test does not need
  }
  return test.extend({
    requirement: [
      // biome-ignore lint/correctness/noEmptyPattern: vitest reads a fixture's dependencies from this pattern
      async ({}, _use: (value: undefined) => Promise<void>) => {
        throw new Error(`${reason}; a skip is a failure here`);
      },
      { auto: true },
    ],
  }) as unknown as typeof test; // the fixture is for its effect; tests see no new context
}
