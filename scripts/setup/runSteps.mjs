// Runs the steps that a goal needs, in the order of their needs, two at a time, and repeats none that is up to date.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '../paths.mjs';
import { tailOf } from './runCommand.mjs';
import { withSetupLock } from './setupLock.mjs';
import { clearStamp, hashInputs, isStamped, writeStamp } from './stamps.mjs';

const parallelSteps = 2;

/** What a person reads when a step fails: which, why, what to do. */
export class StepFailed extends Error {
  constructor(step, cause, logFile) {
    super(
      [
        `step '${step.id}' (${step.why}) failed: ${cause.message}`,
        `  what to do: ${step.help}`,
        `  log ${logFile}, which ends with:`,
        tailOf(logFile).replace(/^/gm, '    | '),
      ].join('\n'),
      { cause },
    );
    this.name = 'StepFailed';
  }
}

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/** The named steps and all that they need, in the table's order. */
function closure(table, ids) {
  const wanted = new Set();
  const add = (id) => {
    const step = table.find((candidate) => candidate.id === id);
    if (step === undefined) throw new Error(`no set-up step is called '${id}'`);
    if (wanted.has(step)) return;
    wanted.add(step);
    step.needs.forEach(add);
  };
  ids.forEach(add);
  return table.filter((step) => wanted.has(step));
}

async function runStep(step, say) {
  const logFile = join(cacheDir, 'logs', `${step.id}.log`);
  try {
    const hash = hashInputs(step);
    const isDone = step.isDone ? await step.isDone() : isStamped(step, hash);
    if (isDone) return false;
    const start = Date.now();
    say(`${step.id}: ${step.why} ...`);
    rmSync(logFile, { force: true });
    clearStamp(step);
    await step.run({ logFile, say: (line) => say(`${step.id}: ${line}`) });
    // Hashed anew: a step may well have written one of its own inputs (CMake's tree, a lock file).
    writeStamp(step, hashInputs(step));
    say(`${step.id}: done in ${seconds(start)}`);
    return true;
  } catch (cause) {
    throw new StepFailed(step, cause, logFile);
  }
}

/**
 * Brings the named steps up to date. Rejects with the first StepFailed, after the steps beside it have ended.
 * @param {readonly object[]} table @param {readonly string[]} ids
 */
export async function runSteps(table, ids, say = (line) => console.log(`[setup] ${line}`)) {
  const steps = closure(table, ids);
  const start = Date.now();
  await withSetupLock(async () => {
    const pending = new Set(steps);
    const running = new Map();
    const finished = new Set();
    let repeated = 0;
    let failure;
    while (pending.size > 0 || running.size > 0) {
      for (const step of pending) {
        if (failure || running.size >= parallelSteps) break;
        if (!step.needs.every((id) => finished.has(id))) continue;
        pending.delete(step);
        const end = runStep(step, say).then(
          (didWork) => {
            if (!didWork) repeated += 1;
            finished.add(step.id);
          },
          (error) => {
            failure ??= error;
          },
        );
        running.set(
          step.id,
          end.finally(() => running.delete(step.id)),
        );
      }
      if (running.size === 0) break;
      await Promise.race(running.values());
    }
    if (failure) throw failure;
    say(`ready in ${seconds(start)} (${repeated} of ${steps.length} steps were up to date)`);
  }, say);
}
