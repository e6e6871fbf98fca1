#!/usr/bin/env node
// npm run lock: writes package-lock.json anew from package.json, for Linux alone. Tools such as esbuild and biome come
// as one optional package per platform; `npm ci` insists on an entry for each of them, also for those that a registry
// mirror does not carry. Nothing of Strata runs elsewhere than on Linux, so the others are left out.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProject } from './paths.mjs';

/** Removes packages of other platforms, and every mention of an optional package that is not there. */
function keepLinuxOnly(lock) {
  for (const [path, entry] of Object.entries(lock.packages)) {
    const systems = [entry.os ?? 'linux'].flat();
    if (path !== '' && !systems.includes('linux')) delete lock.packages[path];
  }
  const present = new Set(Object.keys(lock.packages).map((path) => path.split('node_modules/').at(-1)));
  for (const entry of Object.values(lock.packages)) {
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      if (!present.has(name)) delete entry.optionalDependencies[name];
    }
  }
  return lock;
}

// In a folder of its own: beside an installed node_modules npm would record only what is installed.
const folder = mkdtempSync(join(tmpdir(), 'strata-lock-'));
try {
  copyFileSync(inProject('package.json'), join(folder, 'package.json'));
  const args = ['install', '--package-lock-only', '--omit-lockfile-registry-resolved=false', '--no-audit', '--no-fund'];
  const npm = spawnSync('npm', args, { cwd: folder, stdio: 'inherit' });
  if (npm.status !== 0) process.exit(1);
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'));
  writeFileSync(inProject('package-lock.json'), `${JSON.stringify(keepLinuxOnly(lock), null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
