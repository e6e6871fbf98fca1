#!/usr/bin/env node
// npm run soak: set-up, then test/soak under the product's Node 24, as root.
import { spawnSync } from 'node:child_process';
import { inProject, nodeBinary } from './paths.mjs';
import { asRoot } from './setup/debianPackages.mjs';
import { plainEnvironment } from './setup/runCommand.mjs';
import { setupOrExit } from './setup.mjs';

await setupOrExit('bench');
const [command, ...args] = [...asRoot('the soak'), nodeBinary, inProject('test/soak/main.ts'), ...process.argv.slice(2)];
process.exit(spawnSync(command, args, { stdio: 'inherit', env: plainEnvironment() }).status ?? 1);
