import * as fs from 'node:fs';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { commandLine } from '../../helper/images/bootstraps.ts';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();
const closers: (() => void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await until(() => programs().length === 0, 'the program to end');
  // A request that is cancelled is answered before all of it has ended.
  await until(() => left().length === 0, 'the files to go');
});

const left = (): string[] => fs.readdirSync(path.join(context.strata.place.root, 'tmp'));

/** Command lines of processes that name the helper's directory for what is under way. */
function programs(): string[] {
  const tmp = path.join(context.strata.place.root, 'tmp');
  return fs.readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const words = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ');
      return words.includes(tmp) ? [words] : [];
    } catch {
      return []; // it has ended
    }
  });
}

/** A mirror on the loopback; its address. */
async function mirror(answer: http.RequestListener): Promise<string> {
  const server = http.createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`; // of a server that listens on a port
}

describe('bootstrap', () => {
  it('says what the program said, where the mirror has no such suite', async () => {
    const address = await mirror((_, response) => response.writeHead(404).end());
    const result = await context.strata.cli(['bootstrap', 'test/none', '--suite', 'nowhere', '--mirror', address]);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(new RegExp(`"nowhere" cannot be made of ${address}: `));
    expect(result.stderr).toMatch(/^I: /m);
    expect((await context.strata.connection.request('image.list', {})).images).toHaveLength(1);
  });

  it('ends with its request, and leaves no process, mount or file', async () => {
    const asked = Promise.withResolvers<void>();
    const address = await mirror(() => asked.resolve());
    const client = await context.strata.helper.connect();
    const stop = new AbortController();
    const cancelled = failure(
      client.request('image.bootstrap', { reference: 'test/never', suite: 'bookworm', mirror: address }, { signal: stop.signal }),
    );
    await asked.promise;
    expect(programs().length).toBeGreaterThan(0);
    stop.abort();
    expect((await cancelled).code).toBe('CANCELLED');
    client.close();
  });

  it('ends with the helper, and the next one sweeps what it left', async () => {
    const asked = Promise.withResolvers<void>();
    const address = await mirror(() => asked.resolve());
    const { strata } = context;
    const lost = failure(strata.connection.request('image.bootstrap', { reference: 'test/never', suite: 'bookworm', mirror: address }));
    await asked.promise;
    await strata.helper.crash();
    expect((await lost).code).toBe('CONNECTION_CLOSED');
    await until(() => programs().length === 0, 'the program to die with the helper');
    expect(left()).not.toEqual([]);
    await strata.restart();
  });

  it.each([
    { suite: '--help' },
    { suite: 'bookworm --include=x' },
    { suite: '/etc' },
    { suite: 'bookworm', mirror: 'file:///etc' },
    { suite: 'bookworm', mirror: '-' },
    { suite: 'bookworm', mirror: 'http://a/ bookworm main\ndeb http://b' },
    { suite: 'bookworm', include: ['--hook'] },
    { suite: 'bookworm', include: ['a,?essential'] },
  ])('refuses what is no word of its kind: %j', async (words) => {
    const error = await failure(context.strata.connection.request('image.bootstrap', { reference: 'test/x', ...words }));
    expect(error.code).toBe('INVALID_REQUEST');
  });
});

describe('the command line of the program', () => {
  const request = { reference: 'x', suite: 'bookworm', mirror: 'http://mirror.test/debian', include: ['curl', 'git'] };

  it('is mmdebstrap’s, or debootstrap’s', () => {
    expect(commandLine('mmdebstrap', request, '/work').args.join(' ')).toBe(
      '--mode=root --format=tar --variant=minbase --include=curl,git -- bookworm /work/rootfs.tar http://mirror.test/debian',
    );
    expect(commandLine('debootstrap', { ...request, variant: 'standard', include: [] }, '/work').args.join(' ')).toBe(
      'bookworm /work/rootfs http://mirror.test/debian',
    );
  });
});
