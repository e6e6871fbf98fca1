// A step's stamp is a hash of all that it reads. Equal stamp and outputs still there: nothing to do.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, inProject } from '../paths.mjs';

const stampFile = (id) => join(cacheDir, 'stamps', id);

function* filesBelow(path) {
  if (!existsSync(path)) return;
  if (!statSync(path).isDirectory()) {
    yield path;
    return;
  }
  for (const name of readdirSync(path).sort()) if (name !== 'node_modules') yield* filesBelow(join(path, name));
}

/** Hash of the contents of files and folders, which are named relative to the project (or absolutely). */
export function hashInputs(step) {
  const hash = createHash('sha256').update(`${step.id} ${step.run}\n`);
  for (const input of step.inputs()) {
    const path = input.startsWith('/') ? input : inProject(input);
    for (const file of filesBelow(path)) hash.update(`${file}\0`).update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

export function isStamped(step, hash) {
  if (!step.outputs().every((path) => existsSync(inProject(path)))) return false;
  try {
    return readFileSync(stampFile(step.id), 'utf8') === hash;
  } catch {
    return false;
  }
}

/** Until the step has ended well its old stamp must not vouch for half-made outputs. */
export function clearStamp(step) {
  rmSync(stampFile(step.id), { force: true });
}

export function writeStamp(step, hash) {
  mkdirSync(join(cacheDir, 'stamps'), { recursive: true });
  writeFileSync(stampFile(step.id), hash);
}
