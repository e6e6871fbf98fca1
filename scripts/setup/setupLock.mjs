// Two set-ups in one checkout (an `npm start` beside an `npm test`) would build over each other: the second waits.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cacheDir } from '../paths.mjs';

const lockFile = join(cacheDir, 'setup.lock');

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function tryLock() {
  mkdirSync(cacheDir, { recursive: true });
  try {
    writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
    return undefined;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  const holder = Number(readFileSync(lockFile, 'utf8'));
  if (holder > 0 && isAlive(holder)) return holder;
  rmSync(lockFile, { force: true });
  return tryLock();
}

export async function withSetupLock(work, say) {
  for (let told = false; ; told = true) {
    const holder = tryLock();
    if (holder === undefined) break;
    if (!told) say(`another set-up runs here (pid ${holder}); waiting for it`);
    await delay(500);
  }
  try {
    return await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}
