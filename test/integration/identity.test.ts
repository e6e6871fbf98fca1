import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { distFile } from './support/helperProcess.ts';
import { useStrata } from './support/strata.ts';

const context = useStrata();
const NOBODY = 65_534;

/** `strata …` as another user of the host. */
function cliAs(uid: number, args: readonly string[]): Promise<{ status: number | null; stderr: string; stdout: string }> {
  const { directory, socketPath } = context.strata.place;
  // The checkout may lie where others cannot read: nobody gets a copy of the client and of Node.
  const cli = `${directory}/cli.cjs`;
  const node = `${directory}/node`;
  fs.chmodSync(directory, 0o755);
  if (!fs.existsSync(node)) {
    fs.copyFileSync(distFile('cli.cjs'), cli);
    fs.copyFileSync(process.execPath, node);
    fs.chmodSync(node, 0o755);
  }
  const child = spawn(node, [cli, '--socket', socketPath, ...args], { uid, gid: uid, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  let stderr = '';
  let stdout = '';
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, stderr, stdout })));
}

describe('the socket', () => {
  it('is closed to everybody but root and the group', async () => {
    const stat = fs.statSync(context.strata.place.socketPath);
    expect(stat.mode & 0o007).toBe(0);
    const result = await cliAs(NOBODY, ['ps']);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/permission/i);
    expect(result.stderr).toMatch(/strata/);
  });

  it('gives a peer that is neither root nor in the group the role observe: it reads and changes nothing', async () => {
    const { place } = context.strata;
    fs.chmodSync(place.run, 0o755);
    fs.chmodSync(place.socketPath, 0o666);
    const listed = await cliAs(NOBODY, ['ps', '--json']);
    expect(listed, listed.stderr).toMatchObject({ status: 0 });
    const refused = await cliAs(NOBODY, ['run', '--rm', 'busybox', 'true']);
    expect(refused.status).toBe(125);
    expect(refused.stderr).toMatch(/permission|control/i);
    expect((await context.strata.connection.request('container.list', { all: true })).containers).toEqual([]);
  });
});
