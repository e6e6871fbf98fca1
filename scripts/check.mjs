#!/usr/bin/env node
// npm run check: format, lint, types, import rules and generated files. The same locally and in CI.
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { checkImports } from './checkImports.mjs';
import { checkLintSeesPromises } from './checkLint.mjs';
import { findOnPath, inProject, nodeBinary, npmTool } from './paths.mjs';
import { capture } from './setup/capture.mjs';
import { setupOrExit } from './setup.mjs';

/** One for each set of ambient types: see the comments in them. */
const projects = ['helper/protocol', 'helper', 'extension/client', 'extension/model', 'extension', 'test'];

async function runTool(command, args) {
  const { status, output } = await capture(command, args);
  return status === 0 ? [] : [output.trim() || `${command} ended with ${status}`];
}

async function checkTypes() {
  const findings = [];
  for (const project of projects) {
    if (existsSync(inProject(project, 'tsconfig.json'))) {
      findings.push(...(await runTool(npmTool('tsc'), ['--noEmit', '--pretty', 'false', '-p', project])));
    }
  }
  // Projects overlap (protocol is part of all): say each thing once.
  return [...new Set(findings.flatMap((finding) => finding.split('\n')))];
}

/** A name, and a function that returns what is wrong. Fast ones first. */
const checks = [
  ['import rules', () => checkImports()],
  ['format and lint', () => runTool(npmTool('biome'), ['check', '--error-on-warnings', '--colors=off', '.'])],
  ['typed lint', () => runTool(npmTool('oxlint'), ['--type-aware', '--deny-warnings', 'extension', 'helper', 'test'])],
  ['typed lint sees', checkLintSeesPromises],
  ['types', checkTypes],
  ['generated files', () => runTool(nodeBinary, [inProject('scripts/generate.mjs'), '--check'])],
  ['native format', checkNativeFormat],
];

/** Where clang-format is installed; it is 100 MB, so the set-up does not insist. */
async function checkNativeFormat() {
  if (findOnPath('clang-format') === undefined || !existsSync(inProject('.clang-format'))) return [];
  const { output } = await capture('git', ['ls-files', '-co', '--exclude-standard', 'native/*.cc', 'native/*.h', 'test/native/*.cc']);
  const files = output.split('\n').filter(Boolean);
  return files.length === 0 ? [] : runTool('clang-format', ['--dry-run', '--Werror', ...files]);
}

/** @returns {Promise<{name: string, findings: string[], durationMs: number}[]>} */
export async function runChecks() {
  return Promise.all(
    checks.map(async ([name, check]) => {
      const start = Date.now();
      const findings = await check();
      return { name, findings, durationMs: Date.now() - start };
    }),
  );
}

export function printChecks(results) {
  for (const { name, findings, durationMs } of results) {
    const verdict = findings.length === 0 ? 'ok  ' : 'FAIL';
    console.log(`[check] ${verdict} ${name} (${(durationMs / 1000).toFixed(1)} s)`);
    for (const finding of findings) console.log(finding.replace(/^/gm, '    '));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await setupOrExit('check');
  const results = await runChecks();
  printChecks(results);
  process.exit(results.every(({ findings }) => findings.length === 0) ? 0 : 1);
}
