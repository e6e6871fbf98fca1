#!/usr/bin/env node
// npm run setup [goal...]: brings this checkout to where a command can run. Plain Node 20 without packages, for on a
// fresh clone there are none.
import { pathToFileURL } from 'node:url';
import { runSteps, StepFailed } from './setup/runSteps.mjs';
import { goals, steps } from './setup/steps.mjs';

/** Brings everything that the goals need up to date; rejects with a StepFailed, whose message is for people. */
export function setup(...names) {
  return runSteps(steps, [...new Set(names.flatMap((name) => goals[name]))]);
}

/** The same for commands that cannot go on without. */
export async function setupOrExit(...names) {
  try {
    await setup(...names);
  } catch (error) {
    console.error(error instanceof StepFailed ? `\n[setup] ${error.message}` : error);
    process.exit(1);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !Object.hasOwn(goals, name));
  if (unknown !== undefined) {
    console.error(`setup: no goal is called '${unknown}'; there are: ${Object.keys(goals).join(', ')}`);
    process.exit(2);
  }
  await setupOrExit(...(names.length > 0 ? names : ['browser']));
}
