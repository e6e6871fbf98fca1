#!/usr/bin/env node
// npm run generate: writes what is derived from the sources and checked in (with --check: fails when it is not what the
// sources say). Runs under Node 24, which reads the TypeScript sources as they are.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { protocolDocument } from './generateProtocol.mjs';
import { inProject } from './paths.mjs';

/** package.json with the contributions that extension/contributions/manifest.ts declares. */
async function manifest() {
  const { manifestContributes } = await import(inProject('extension/contributions/manifest.ts'));
  const current = JSON.parse(readFileSync(inProject('package.json'), 'utf8'));
  return { ...current, contributes: manifestContributes() };
}

/** A file and its content as an object (compared by value: the formatter owns the layout) or as text. */
const generated = [
  { file: 'package.json', from: 'extension/contributions/manifest.ts', content: manifest },
  { file: 'docs/protocol.md', from: 'helper/protocol/index.ts', content: protocolDocument },
];

const readIfThere = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : '');

function isCurrent(text, content) {
  if (typeof content === 'string') return text === content;
  return text !== '' && JSON.stringify(JSON.parse(text)) === JSON.stringify(content);
}

const check = process.argv.includes('--check');
let stale = 0;
for (const { file, from, content } of generated) {
  if (!existsSync(inProject(from))) continue;
  const wanted = await content();
  if (isCurrent(readIfThere(inProject(file)), wanted)) continue;
  if (check) {
    console.error(`${file} is not what ${from} says: run \`npm run generate\``);
    stale += 1;
    continue;
  }
  mkdirSync(dirname(inProject(file)), { recursive: true });
  writeFileSync(inProject(file), typeof wanted === 'string' ? wanted : `${JSON.stringify(wanted, null, 2)}\n`);
  console.log(`wrote ${file}`);
}
process.exit(stale === 0 ? 0 : 1);
