import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { distFile } from './support/helperProcess.ts';
import { type Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();

/** Runs it, reads until something has come, and reads no more: `strata … | head -1`. Its status. */
async function readOnce(strata: Strata, args: readonly string[]): Promise<number | null> {
  const child = spawn(process.execPath, ['--', distFile('cli.cjs'), '--socket', strata.place.socketPath, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await once(child.stdout, 'data');
  child.stdout.destroy();
  return await exited;
}

/** What a terminal gets to see of a shell command, byte for byte; `strata` in it is the command line under test. */
async function onTerminal(strata: Strata, script: string): Promise<string> {
  const command = `strata() { '${process.execPath}' -- '${distFile('cli.cjs')}' --socket '${strata.place.socketPath}' "$@"; }; ${script}`;
  // Its input stays open: an end would be typed as ctrl-d.
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, SHELL: '/bin/sh' },
  });
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString();
  });
  await once(child, 'close');
  return output;
}

describe('strata', () => {
  it('runs the main job', async () => {
    const { strata } = context;
    expect(await strata.cli(['run', '--rm', 'busybox', 'echo', 'hello'])).toEqual({ status: 0, stdout: 'hello\n', stderr: '' });
    expect((await strata.cli(['run', '--rm', 'busybox', 'sh', '-c', 'exit 9'])).status).toBe(9);
    expect((await strata.cli(['run', '--rm', '-i', 'busybox', 'cat'], 'piped')).stdout).toBe('piped');
    const detached = await strata.cli([
      'run',
      '-d',
      '--name',
      'web',
      '--cpus',
      '0.5',
      '-m',
      '64m',
      '--pids-limit',
      '50',
      'busybox',
      'sleep',
      '1000',
    ]);
    expect(detached.stdout).toMatch(/^[0-9a-f]{12,32}\n$/);
    expect((await strata.cli(['ps'])).stdout).toMatch(/web/);
    expect((await strata.cli(['exec', 'web', 'cat', '/proc/1/comm'])).stdout).toBe('sleep\n');
    const update = await strata.cli(['update', '--cpus', '0.25', '--json', 'ghost', 'web']);
    expect(update.status).toBe(1);
    expect(update.stderr).toContain('there is no container "ghost"');
    expect(JSON.parse(update.stdout)).toMatchObject([{ container: 'web', limits: { cpuQuotaUs: 25_000 }, warnings: [] }]);
    expect((await strata.find('web')).limits).toMatchObject({ cpuQuotaUs: 25_000, memoryMaxBytes: 64 * 1024 * 1024, pidsMax: 50 });
    expect((await strata.cli(['layers', 'web'])).stdout).toMatch(/upper[\s\S]*init[\s\S]*image/);
    const stats: unknown = JSON.parse((await strata.cli(['stats', '--no-stream', '--json'])).stdout);
    expect(JSON.stringify(stats)).toContain('memoryBytes');
    expect((await strata.cli(['stop', '-t', '0', 'web'])).status).toBe(0);
    expect((await strata.cli(['ps'])).stdout).not.toMatch(/web/);
    expect((await strata.cli(['ps', '-a'])).stdout).toMatch(/web/);
    expect((await strata.cli(['rm', 'web'])).status).toBe(0);
    expect((await strata.cli(['images'])).stdout).toMatch(/busybox/);
  });

  it('shows logs, also with --tail and --timestamps', async () => {
    const { strata } = context;
    await strata.cli(['run', '-d', '--name', 'talker', 'busybox', 'sh', '-c', 'seq 1 5; echo oops >&2']);
    await strata.cli(['wait', 'talker']);
    const all = await strata.cli(['logs', 'talker']);
    expect(all).toEqual({ status: 0, stdout: '1\n2\n3\n4\n5\n', stderr: 'oops\n' });
    expect((await strata.cli(['logs', '--tail', '2', 'talker'])).stdout.endsWith('5\n')).toBe(true);
    expect((await strata.cli(['logs', '-t', 'talker'])).stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z 1$/m);
    expect((await strata.cli(['logs', '-f', 'talker'])).stdout).toBe(all.stdout);
  });

  it('speaks JSON', async () => {
    const { strata } = context;
    await strata.start({ name: 'json' });
    for (const command of [['ps'], ['images'], ['inspect', 'json'], ['layers', 'json'], ['info'], ['top', 'json']]) {
      const { stdout, status, stderr } = await strata.cli([...command, '--json']);
      expect({ command, status, stderr }).toEqual({ command, status: 0, stderr: '' });
      expect(() => void JSON.parse(stdout), command.join(' ')).not.toThrow();
    }
  });

  it('speaks JSON of what was done, too', async () => {
    const { strata } = context;
    const json = async (...args: string[]): Promise<unknown> => {
      const { stdout, status, stderr } = await strata.cli(args);
      expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: '' });
      const value: unknown = JSON.parse(stdout);
      return value;
    };
    const created = await json('create', '--json', '--name', 'made', 'busybox', 'sleep', '1000');
    expect(created).toMatchObject({ name: 'made', warnings: [] });
    expect(await json('start', '--json', 'made')).toEqual([{ container: 'made', pid: expect.any(Number) as number }]);
    expect(await json('rename', '--json', 'made', 'renamed')).toEqual({ container: 'made', name: 'renamed' });
    expect(await json('kill', '--json', '-s', 'KILL', 'renamed')).toEqual([{ container: 'renamed', signal: 'KILL' }]);
    expect(await json('wait', '--json', 'renamed')).toMatchObject([{ container: 'renamed', exit: { signal: 'SIGKILL' } }]);
    expect(await json('stop', '--json', 'renamed')).toMatchObject([{ container: 'renamed', exit: { signal: 'SIGKILL' } }]);
    expect(await json('rm', '--json', 'renamed')).toMatchObject([{ container: 'renamed' }]);
    expect(await json('run', '-d', '--json', '--name', 'ran', 'busybox', 'sh', '-c', 'echo out; echo err >&2; printf rest')).toMatchObject({
      name: 'ran',
    });
    await strata.cli(['wait', 'ran']);
    const lines = (await strata.cli(['logs', '--json', 'ran'])).stdout.trim().split('\n');
    const records = lines.map((line): unknown => JSON.parse(line));
    const time = expect.stringMatching(/^\d{4}-.*Z$/) as string;
    expect(records).toHaveLength(3);
    for (const [stream, text] of [
      ['stdout', 'out'],
      ['stderr', 'err'],
    ]) {
      expect(records).toContainEqual({ time, stream, text });
    }
    expect(records).toContainEqual({ time, stream: 'stdout', text: 'rest', partial: true });
    expect(await json('version', '--json')).toMatchObject({ client: {}, helper: {} });
  });

  it('ends the container whose output nobody reads any more', async () => {
    const { strata } = context;
    expect(await readOnce(strata, ['run', '--rm', '--name', 'gone', 'busybox', 'yes'])).toBe(141);
    await until(async () => (await strata.cli(['ps', '-aq'])).stdout === '', 'the end of a container with --rm');
    expect(await readOnce(strata, ['run', '--name', 'stays', '--stop-timeout', '0', 'busybox', 'yes'])).toBe(141);
    expect((await strata.find('stays')).state.kind).toBe('exited');
    expect(await readOnce(strata, ['start', '-a', 'stays'])).toBe(141);
    expect((await strata.find('stays')).state.kind).toBe('exited');
  });

  it('only leaves a container that it has joined when nobody reads any more', async () => {
    const { strata } = context;
    await strata.cli(['run', '-d', '--name', 'ticks', 'busybox', 'sh', '-c', 'while echo tick; do usleep 10000; done']);
    for (const command of [['logs', '-f'], ['attach'], ['start', '-a']]) {
      expect(await readOnce(strata, [...command, 'ticks'])).toBe(141);
      expect((await strata.find('ticks')).state.kind).toBe('running');
    }
  });

  it('gives a terminal the very bytes that the container wrote, and then its old settings', async () => {
    const { strata } = context;
    const script = `stty -opost; printf 'a\\nb\\nc'`;
    expect(await onTerminal(strata, `strata run -it --rm busybox sh -c "${script}"`)).toBe('a\nb\nc');
    await strata.start({ name: 'session' });
    expect(await onTerminal(strata, `strata exec -it session sh -c "${script}"`)).toBe('a\nb\nc');
    const [before, after] = (await onTerminal(strata, 'stty -g; strata exec -it session true; stty -g')).trim().split(/\r?\n/);
    expect(after).toBe(before);
  });

  it('says on a terminal what it waits for, and stops several at once', async () => {
    const { strata } = context;
    for (const name of ['deaf1', 'deaf2']) await strata.start({ name });
    const start = Date.now();
    const output = await onTerminal(strata, 'strata stop -t 3 deaf1 deaf2');
    expect(output).toMatch(/waiting up to 3 s for deaf1 to end/);
    expect(output).toMatch(/waiting up to 3 s for deaf2 to end/);
    expect(Date.now() - start).toBeLessThan(5500);
    for (const name of ['deaf1', 'deaf2']) expect((await strata.find(name)).state.kind).toBe('exited');
  });

  it('leaves its flags alone that node has, too', async () => {
    const { strata } = context;
    const script = path.resolve(distFile('.'), '../scripts/strata.mjs');
    for (const PATH of [`${path.dirname(process.execPath)}:${process.env['PATH']}`, process.env['PATH']]) {
      const child = spawn(script, ['--socket', strata.place.socketPath, 'run', '--rm', '--env-file', '/nofile', 'busybox', 'env'], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, PATH },
      });
      let stderr = '';
      child.stderr.on('data', (bytes: Buffer) => {
        stderr += bytes.toString();
      });
      const [status] = (await once(child, 'close')) as [number];
      expect({ status, stderr }).toEqual({
        status: 125,
        stderr: 'strata: --env-file /nofile: there is no such file\nSee "strata run --help".\n',
      });
    }
  });

  it('shows what it found when another name is unknown', async () => {
    const { strata } = context;
    await strata.start({ name: 'good' });
    const { status, stdout, stderr } = await strata.cli(['inspect', 'good', 'nosuch', 'busybox']);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject([{ name: 'good' }, { references: ['busybox:latest'] }]);
    expect(stderr).toMatch(/^strata: there is no container or image "nosuch"\n/);
    expect((await strata.cli(['layers', 'nosuch'])).stderr).toMatch(/no container or image "nosuch"/);
  });

  it('starts what runs already without a word, and has no figures of what does not run', async () => {
    const { strata } = context;
    await strata.start({ name: 'web' });
    expect(await strata.cli(['start', 'web'])).toEqual({ status: 0, stdout: 'web\n', stderr: '' });
    await strata.cli(['kill', 'web']);
    await strata.cli(['wait', 'web']);
    for (const flags of [[], ['--no-stream'], ['--no-stream', '--json']]) {
      const result = await strata.cli(['stats', ...flags, 'web']);
      expect(result).toMatchObject({ status: 1, stdout: '' });
      expect(result.stderr).toMatch(/"web" does not run/);
    }
  });

  it('lists by name, state and number', async () => {
    const { strata } = context;
    for (const name of ['web-1', 'web-2', 'other']) await strata.start({ name });
    await strata.cli(['kill', 'web-2']);
    await strata.cli(['wait', 'web-2']);
    const names = async (...flags: string[]): Promise<string[]> => {
      const list = JSON.parse((await strata.cli(['ps', '--json', ...flags])).stdout) as { name: string }[];
      return list.map(({ name }) => name);
    };
    expect(await names('--filter', 'name=web')).toEqual(['web-1']);
    expect(await names('-a', '--filter', 'name=web')).toEqual(['web-2', 'web-1']);
    expect(await names('--filter', 'status=exited')).toEqual(['web-2']);
    expect(await names('-n', '2')).toEqual(['other', 'web-2']);
  });

  it('sets the clocks of a time namespace', async () => {
    const { stdout } = await context.strata.cli(['run', '--rm', '--time-offset', 'boottime=864000000', 'busybox', 'cat', '/proc/uptime']);
    expect(Number(stdout.split(' ')[0])).toBeGreaterThan(864_000_000);
  });

  it.each([
    [['run', '--cpus', '0.001'], /--cpus 0\.001 is not within 0\.01 to/],
    [['run', '--cpus', '100000'], /--cpus 100000 is not within/],
    [['run', '--cpus', '5000'], /--cpus 5000: .*the host has/],
    [['run', '--pids-limit', '-5'], /--pids-limit -5 is not within 1 to 4194304, or -1/],
    [['run', '--cpu-period', '10'], /--cpu-period 10 is not within 1000 to 1000000/],
    [['run', '--cpu-quota', '10'], /--cpu-quota 10 is not within 1000 to/],
    [['run', '--cpu-shares', '-4'], /--cpu-shares -4 is not within 2 to 262144, or 0/],
    [['run', '--cpu-shares', '1'], /--cpu-shares 1 is not within/],
    [['run', '-m', '10'], /--memory 10 is too little.*512 KiB/],
    [['run', '--cpuset-cpus', '900'], /--cpuset-cpus 900: .*the host has the cpus/],
    [['run', '--cpuset-cpus', 'x'], /--cpuset-cpus x: a cpu list looks like/],
    [['run', '--cpuset-mems', '9'], /--cpuset-mems 9: /],
    [['run', '--hostname', '-bad'], /--hostname -bad: a host name has letters/],
    [['run', '--workdir', 'here'], /--workdir here: a working directory begins with/],
    [['run', '-e', '=x'], /--env "=x" has no name/],
    [['run', '--stop-timeout', '-1'], /--stop-timeout -1 is not within 0 to 3600/],
    [['run', '--time-offset', 'soon'], /--time-offset "soon" is not like/],
    [['run', '--detach-keys', 'ctrl-ö'], /--detach-keys "ctrl-ö"/],
    [['stop', '-t', '-1'], /--time -1 is not within 0 to 3600/],
    [['logs', '--tail', '-1'], /--tail -1 is not within 0 to 10000000, or "all"/],
  ])('%j is refused in words of the command line', async (args, message) => {
    const { status, stderr } = await context.strata.cli([...args, 'busybox', ...(args[0] === 'run' ? ['true'] : [])]);
    expect(status).toBe(args[0] === 'run' ? 125 : 1);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/options\.|Too small|Too big|pattern/);
  });

  it.each([
    [['run', '--nonsense'], 'strata: unknown option \'--nonsense\'\nSee "strata run --help".\n'],
    [['rm'], 'strata: missing required argument \'containers\'\nSee "strata rm --help".\n'],
    // Its stream's close would hang it up, so that no keys can leave it running.
    [['exec', '--detach-keys', 'ctrl-a', 'web', 'sh'], 'strata: unknown option \'--detach-keys\'\nSee "strata exec --help".\n'],
    [['nonsense'], 'strata: unknown command \'nonsense\'\nSee "strata --help".\n'],
    [['run', '--cpus', 'many', 'busybox'], 'strata: --cpus "many" is not a number above 0, such as 0.5\nSee "strata run --help".\n'],
  ])('%j tells where help is', async (args, stderr) => {
    expect(await context.strata.cli(args)).toMatchObject({ stdout: '', stderr });
  });

  it('does not show empty defaults in help', async () => {
    for (const command of ['run', 'create', 'exec', 'ps']) {
      expect((await context.strata.cli([command, '--help'])).stdout).not.toMatch(/default: \[\]/);
    }
  });

  it.each([
    [['run', 'nosuch', 'true'], 125, /nosuch/],
    [['run', '--rm', 'busybox', 'nonsense'], 127, /nonsense/],
    [['run', '--rm', 'busybox', '/etc/passwd'], 126, /passwd/],
    [['run', '--cpus', 'many', 'busybox'], 125, /many/],
    [['run', '--memory', '-5', 'busybox', 'true'], 125, /-5/],
    [['run', '--nonsense', 'busybox'], 125, /nonsense/],
    [['stop', 'ghost'], 1, /ghost/],
    [['nonsense'], 1, /nonsense/],
  ])('%j fails with the status that scripts expect and names the thing', async (args, status, message) => {
    const result = await context.strata.cli(args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/\s+at .*:\d+:\d+/);
  });

  it("attach without a terminal leaves the size of the container's to those who have one", async () => {
    const { strata } = context;
    const id = await strata.start({ tty: true, command: ['sh', '-c', 'while :; do stty size; sleep 0.05; done'] });
    await strata.connection.request('container.resize', { container: id, size: { columns: 101, rows: 31 } });
    await until(async () => (await strata.cli(['logs', '--tail', '1', id])).stdout.trim() === '31 101', 'the size to be set');
    const child = spawn(process.execPath, [distFile('cli.cjs'), '--socket', strata.place.socketPath, 'attach', '--no-stdin', id]);
    const ended = once(child, 'close');
    let stdout = '';
    child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
    await until(() => stdout.split('\n').length > 3, 'a few lines of output');
    await strata.connection.request('container.kill', { container: id });
    await ended;
    expect(new Set(stdout.trim().split(/\s*\n/))).toEqual(new Set(['31 101']));
  });

  it('says that the helper has gone to who follows figures', async () => {
    const { strata } = context;
    const id = await strata.start();
    const child = spawn(process.execPath, [distFile('cli.cjs'), '--socket', strata.place.socketPath, 'stats', '--json']);
    const ended = once(child, 'close');
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) child[name].on('data', (bytes: Buffer) => (said[name] += bytes.toString()));
    await until(() => said.stdout.includes(id), 'the figures');
    await strata.helper.stop();
    expect(await ended).toEqual([1, null]);
    expect(said.stderr).toMatch(/^strata: the helper has gone\n/);
    await strata.restart();
  });

  it('says what to do when no helper listens', async () => {
    const result = await context.strata.cli(['--socket', '/tmp/strata-nobody.sock', 'ps']);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/strata-nobody\.sock/);
    expect(result.stderr).toMatch(/start/i);
  });
});
