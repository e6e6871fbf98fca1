import { defineConfig } from 'vitest/config';
import { cgroupMode } from './test/support/cgroupMode.ts';

/** Integration tests that are run on a host with cgroup v2 only too: what limits, starts and stops containers. */
const inEveryWorld = ['run', 'limits', 'lifecycle', 'exec', 'oci/lifecycle', 'oci/exec', 'oci/resources', 'pause', 'execSessions', 'init'];

// Four projects: what each may assume differs, how a test is written does not. `scripts/test.mjs` starts them one by
// one and reads their JSON reports.
export default defineConfig({
  test: {
    // A test without an assertion, a forgotten `.only` or an empty suite must not look like a pass.
    allowOnly: false,
    passWithNoTests: false,
    expect: { requireAssertions: true },
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], pool: 'threads', testTimeout: 10_000 } },
      {
        // Real helpers and containers as root: one file at a time, so that leak checks and cpu measurements see only
        // their own doings.
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          // On a host with v1 controllers those of v2 belong to the project `vm`.
          exclude: [`test/integration/**/*.${cgroupMode() === 'v2' ? 'v1' : 'v2'}.test.ts`],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Inside the virtual machine, where everything is ten to fifty times slower: see scripts/test/vmSuite.mjs.
        test: {
          name: 'vm',
          include: [...inEveryWorld.map((name) => `test/integration/${name}.test.ts`), 'test/integration/**/*.v2.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 240_000,
          hookTimeout: 240_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
