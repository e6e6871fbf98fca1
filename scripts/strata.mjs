#!/usr/bin/env -S node --
// The -- keeps node from taking flags that are meant for us: it looks for --env-file among all arguments.
// `npx strata ...` from the checkout: the command line client, run by the product's own Node 24.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { distDir, nodeBinary } from './paths.mjs';

const cli = join(distDir, 'cli.cjs');
if (!existsSync(cli) || !existsSync(nodeBinary)) {
  console.error('strata is not built yet: run `npm run build` in the checkout first');
  process.exit(1);
}
if (process.versions.node.split('.')[0] >= 24) {
  // Already there (npx prefers the checkout's node): no second process between the terminal and the client.
  process.argv[1] = cli;
  await import(cli);
} else {
  const child = spawn(nodeBinary, ['--', cli, ...process.argv.slice(2)], { stdio: 'inherit' });
  // The terminal signals the whole foreground group; a signal meant for us alone is passed on.
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.on('SIGINT', () => {});
  child.once('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
