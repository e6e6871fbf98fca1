import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CrashMatrix } from '../soak/crashes/crashMatrix.ts';
import { clearPlace } from '../soak/place.ts';
import { TightDisk } from '../soak/tightDisk.ts';
import { makePlace, type Place } from './support/helperProcess.ts';

// A short `npm run soak -- crashes disk`: what is chosen is the seed's, at which step the kill comes is the machine's.
describe('a crash of the helper, of a supervisor or of both in the midst of an operation', () => {
  let place: Place;
  beforeEach(() => {
    place = makePlace();
  });
  afterEach(async () => {
    await clearPlace(place);
    fs.rmSync(place.directory, { recursive: true });
  });

  async function crash(matrix: CrashMatrix, cycles: number): Promise<void> {
    for (let cycle = 0; cycle < cycles; cycle += 1) await matrix.cycle();
    await matrix.end();
    expect(matrix.problems).toEqual([]);
  }

  it('leaves true what clients were told, an end for whatever ran, and nothing else', { timeout: 150_000 }, async () => {
    await crash(await CrashMatrix.begin(place, { seed: 20 }), 20);
  });

  it('does so on a full disk, too', { timeout: 150_000 }, async () => {
    const root = fs.mkdtempSync('/tmp/strata-small-');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=700', 'none', root]);
    try {
      await crash(await CrashMatrix.begin({ ...place, root }, { seed: 21, disk: new TightDisk(root) }), 6);
    } finally {
      await clearPlace(place);
      execFileSync('umount', [root]);
      fs.rmdirSync(root);
    }
  });
});
