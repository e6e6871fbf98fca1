import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LayerCheck } from '../../helper/protocol/index.ts';
import { ImageLayout } from './support/imageLayout.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();

let workspace: string;

beforeAll(() => {
  workspace = fs.mkdtempSync('/tmp/strata-check-');
});
afterEach(() => context.strata.forgetImages());
afterAll(() => fs.rmSync(workspace, { recursive: true }));

const key = '-----BEGIN OPENSSH PRIVATE KEY-----\\nx\\n-----END OPENSSH PRIVATE KEY-----\\n';
const bytes = (count: number, name: string): string => `head -c ${count} /dev/zero > ${name}`;

/** Bottom first: what each step makes, and takes away as archives have it. */
const steps = [
  [
    'mkdir -p etc app/data root/.ssh srv',
    bytes(1000, 'etc/kept'),
    bytes(2000, 'etc/replaced'),
    bytes(4000, 'etc/deleted'),
    bytes(5000, 'etc/rewritten'),
    bytes(5000, 'app/tool'),
    'chmod 755 app/tool',
    bytes(8000, 'app/data/one'),
    bytes(16_000, 'app/data/two'),
    'ln app/data/two app/data/two-again',
    `printf -- '${key}' > root/.ssh/id_rsa`,
    "printf 'no key\\n' > root/.ssh/other.pem",
    "printf 'DB_PASSWORD=hunter2\\n' > srv/.env",
  ],
  [
    'mkdir -p etc app root/.ssh srv var/lib/apt/lists',
    bytes(2500, 'etc/replaced'),
    'touch etc/.wh.deleted root/.ssh/.wh.id_rsa',
    bytes(5000, 'app/tool'),
    'chmod 4755 app/tool',
    // As large and as old, and not the same.
    'head -c 5000 /dev/zero | tr "\\0" x > etc/rewritten',
    bytes(100_000, 'var/lib/apt/lists/packages'),
    bytes(2_000_000, 'srv/large'),
    "printf '//registry.npmjs.org/:_authToken=abc\\n' > srv/.npmrc",
    'ln -s /nowhere srv/broken && ln -s ../etc/kept srv/whole && mkdir srv/open && chmod 777 srv/open && touch srv/free && chmod 666 srv/free',
  ],
  ['mkdir -p app srv', 'touch app/.wh.data srv/.wh.large'],
];

/** The directories that the layers are packed from, bottom first. */
function importImage(name: string, scripts: readonly (readonly string[])[] = steps): { directories: string[]; imported: Promise<unknown> } {
  const directories = scripts.map((lines) => {
    const directory = fs.mkdtempSync(path.join(workspace, 'layer-'));
    fs.chmodSync(directory, 0o755);
    execFileSync('sh', ['-ec', lines.join('\n')], { cwd: directory });
    return directory;
  });
  const tars = directories.map((directory) =>
    execFileSync('tar', ['-c', '--sort=name', '--mtime=@0', '-C', directory, '.'], { maxBuffer: 1e9 }),
  );
  const layout = new ImageLayout(fs.mkdtempSync(path.join(workspace, 'layout-')));
  layout.add('it', tars, { history: tars.map((_, at) => ({ created: '2026-01-01T00:00:00Z', created_by: `RUN step ${at}` })) });
  const source = { kind: 'ociLayout', path: layout.directory, name: 'it' } as const;
  return { directories, imported: context.strata.connection.request('image.import', { source, reference: name }) };
}

const check = (image: string): Promise<LayerCheck> => context.strata.connection.request('layer.check', { kind: 'image', image });

/** dive's score and wasted bytes, from its definition, of directories bottom first. Each inode's bytes are those of its first name. */
function diveOf(directories: readonly string[]): { efficiency: number; wastedBytes: number } {
  const shown = new Map<string, number>();
  const sizes = new Map<string, number[]>();
  for (const directory of directories) {
    const inodes = new Set<number>();
    const names = fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
    const leaves = names.filter((name) => !names.some((other) => other.startsWith(`${name}/`)));
    const before = new Map(shown);
    for (const name of leaves) {
      const status = fs.lstatSync(path.join(directory, name));
      const isWhiteout = path.basename(name).startsWith('.wh.');
      const target = isWhiteout ? path.join(path.dirname(name), path.basename(name).slice(4)) : name;
      let size = 0;
      if (isWhiteout) {
        for (const [other, bytesOf] of before) {
          if (other.startsWith(`${target}/`)) size += bytesOf;
          if (other === target || other.startsWith(`${target}/`)) shown.delete(other);
        }
      } else {
        size = status.isFile() && !inodes.has(status.ino) ? status.size : 0;
        inodes.add(status.ino);
        shown.set(name, size);
      }
      sizes.set(target, [...(sizes.get(target) ?? []), size]);
    }
  }
  const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
  const all = [...sizes.values()];
  return {
    efficiency: sum(all.map((list) => Math.min(...list))) / sum(all.map(sum)),
    wastedBytes: sum(all.filter((list) => list.length > 1).map(sum)),
  };
}

const stored = [41_000 + key.replaceAll('\\n', '\n').length + 7 + 20, 2_112_500 + 37, 0] as const;

describe('check of an image', () => {
  it('tells what each layer stores, what is still seen of it, and what is wasted', async () => {
    const { directories, imported } = importImage('check:1');
    await imported;
    const found = await check('check:1');
    expect(found.layers).toMatchObject([
      {
        index: 0,
        role: 'image',
        createdBy: 'RUN step 2',
        whiteouts: 2,
        storedBytes: 0,
        seenBytes: 0,
        cumulativeBytes: stored[0] + stored[1],
      },
      { index: 1, createdBy: 'RUN step 1', whiteouts: 2, storedBytes: stored[1], seenBytes: stored[1] - 2_000_000 },
      { index: 2, createdBy: 'RUN step 0', whiteouts: 0, storedBytes: stored[0], seenBytes: 1000 + 7 + 20, cumulativeBytes: stored[0] },
    ]);
    expect(found.storedBytes).toBe(stored[0] + stored[1]);
    expect(found.efficiency).toBe(found.seenBytes / found.storedBytes);
    expect(found.worst.slice(0, 3)).toEqual([
      { path: '/srv/large', bytes: 2_000_000, layers: [0, 1] },
      { path: '/app/data/two', bytes: 16_000, layers: [2] },
      { path: '/app/data/one', bytes: 8000, layers: [2] },
    ]);
    expect(found.wastedPaths).toBe(8);
    const dive = diveOf(directories);
    expect(found.dive.efficiency).toBeCloseTo(dive.efficiency, 12);
    expect(found.dive.wastedBytes).toBe(dive.wastedBytes);
    expect(found.dive.userWastedPercent).toBeCloseTo(dive.wastedBytes / stored[1], 12);
    expect(found.limitations).toEqual([]);
  });

  it('finds secrets, copies, caches, rights and links, with the layer and what it costs', async () => {
    await importImage('check:1').imported;
    const { findings, rules } = await check('check:1');
    const lines = findings.map(({ rule, severity, path: where, layer, bytes: cost }) => `${severity} ${rule} ${where} ${layer} ${cost}`);
    expect(lines).toEqual([
      `high deleted-private-key /root/.ssh/id_rsa 2 ${stored[0] - 41_027}`,
      'high npm-token /srv/.npmrc 1 37',
      'high environment-file /srv/.env 2 20',
      'medium hidden-file /srv/large 1 2000000',
      'medium metadata-copy /app/tool 1 5000',
      'medium world-writable-directory /srv/open 1 0',
      'medium world-writable-file /srv/free 1 0',
      'low package-cache /var/lib/apt/lists 1 100000',
      'low set-id-file /app/tool 1 5000',
      'low broken-link /srv/broken 1 0',
    ]);
    expect(findings[0]).toMatchObject({
      hiddenBy: { layer: 1, deleted: true },
      remedy: expect.stringMatching(/mount=type=secret/) as unknown,
    });
    expect(findings.at(-1)).toMatchObject({ linkTarget: '/nowhere' });
    expect(rules.map(({ rule, count, more }) => [rule, count, more])).toContainEqual(['hidden-file', 1, false]);
    // No content is told.
    expect(JSON.stringify(findings)).not.toMatch(/hunter2|abc|BEGIN/);
  });

  it('says what does not fit, and not more than fits', async () => {
    await importImage('check:many', [['i=0; while [ $i -lt 150 ]; do : > w$i; chmod 666 w$i; i=$((i+1)); done']]).imported;
    const { findings, rules, efficiency } = await check('check:many');
    expect(findings).toHaveLength(100);
    expect(rules).toEqual([{ rule: 'world-writable-file', severity: 'medium', count: 150, bytes: 0, more: true }]);
    expect(efficiency).toBe(1);
  });

  it('of nothing says so, and a cancelled one ends', async () => {
    expect((await failure(check('check:none'))).code).toBe('IMAGE_NOT_FOUND');
    await importImage('check:1').imported;
    const gone = new AbortController();
    const asked = context.strata.connection.request('layer.check', { kind: 'image', image: 'check:1' }, { signal: gone.signal });
    gone.abort();
    expect((await failure(asked)).code).toBe('CANCELLED');
    expect((await check('check:1')).layers).toHaveLength(3);
  });
});

describe('check of a container', () => {
  it('counts what it changed, while it runs', async () => {
    const { strata } = context;
    const id = await strata.start();
    const made = await strata.exec(id, [
      'sh',
      '-c',
      `${bytes(3000, '/mine')}; rm /etc/passwd; chmod 700 /bin/busybox; printf -- '${key}' > /root/id_rsa`,
    ]);
    expect(made).toMatchObject({ status: 0 });
    const found = await strata.connection.request('layer.check', { kind: 'container', container: id });
    expect(found.layers.map(({ role, reference }) => [role, reference.kind])).toEqual([
      ['upper', 'upper'],
      ['init', 'init'],
      ['image', 'image'],
    ]);
    const [upper, , image] = found.layers;
    const busybox = fs.statSync(
      `${(await strata.connection.request('layer.stack', { kind: 'container', container: id })).layers[2]?.path}/bin/busybox`,
    );
    expect(upper).toMatchObject({ whiteouts: 1, storedBytes: 3000 + busybox.size + key.replaceAll('\\n', '\n').length });
    expect(image?.storedBytes).toBe((await strata.connection.request('image.list', {})).images[0]?.sizeBytes);
    expect(found.worst[0]).toMatchObject({ bytes: busybox.size });
    expect(found.findings.map(({ rule, path: where, layer }) => [rule, where, layer])).toEqual(
      expect.arrayContaining([
        ['private-key', '/root/id_rsa', 0],
        ['metadata-copy', '/bin/busybox', 0],
      ]),
    );
  });
});

describe('an image', () => {
  it('that was committed just now is checked as it is, and one that is removed meanwhile is gone afterwards', async () => {
    const { connection, place } = context.strata;
    const { id } = await context.strata.run({ image: 'busybox', command: ['sh', '-c', `${bytes(4321, '/made')}; rm /etc/group`] });
    const { image } = await connection.request('container.commit', { container: id, reference: 'check:made' });
    const found = await check('check:made');
    expect(found.layers[0]).toMatchObject({ role: 'image', index: 0, storedBytes: 4321, seenBytes: 4321, whiteouts: 1 });
    expect(found.layers).toHaveLength(2);

    const { chainIds } = await connection.request('image.inspect', { image: image.id });
    await context.strata.remove(id);
    const [checked] = await Promise.all([check('check:made'), connection.request('image.remove', { image: 'check:made' })]);
    expect(checked).toEqual(found);
    expect(fs.readdirSync(path.join(place.root, 'layers'))).not.toContain(chainIds.at(-1)?.slice('sha256:'.length));
    expect((await failure(check('check:made'))).code).toBe('IMAGE_NOT_FOUND');
  });
});

describe('strata check', () => {
  it('prints layers, score, worst paths and findings', async () => {
    await importImage('check:1').imported;
    const { status, stdout, stderr } = await context.strata.cli(['check', 'check:1']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^# +ROLE +ENTRIES +STORED +SEEN +WASTED +WITH BELOW +MADE BY$/m);
    expect(stdout).toMatch(/^1 +image +\d+ +2 MiB +110 KiB +1.9 MiB +2.1 MiB +RUN step 1$/m);
    expect(stdout).toMatch(/^1.9 MiB +0,1 +\/srv\/large$/m);
    expect(stdout).toMatch(/^HIGH +deleted-private-key: 1/m);
    expect(stdout).toMatch(/\/root\/.ssh\/id_rsa in layer 2, .*; layer 1 deletes it$/m);
  });

  it.each([
    [['--lowest-efficiency', '0.01'], 0, 'passed: efficiency'],
    [['--lowest-efficiency', '90%'], 1, 'FAILED: efficiency'],
    [['--highest-wasted-bytes', '20MB'], 0, 'passed: wasted'],
    [['--highest-wasted-bytes', '1m'], 1, 'FAILED: wasted'],
    [['--highest-user-wasted-percent', '0.1'], 1, 'FAILED: wasted of all layers'],
    [['--fail-on', 'high'], 1, 'FAILED: 3 findings of severity high'],
    [['--lowest-efficiency', '0.01', '--highest-wasted-bytes', '1k'], 1, 'FAILED: wasted'],
  ])('%s ends with %i', async (flags, status, words) => {
    await importImage('check:1').imported;
    const result = await context.strata.cli(['check', ...flags, 'check:1']);
    expect(result).toMatchObject({ status, stderr: '' });
    expect(result.stdout).toContain(words);
  });

  it('ends with 2 where nothing could be checked, in both its places', async () => {
    const { strata } = context;
    for (const words of [['check'], ['image', 'check']]) {
      expect(await strata.cli([...words, 'check:none'])).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('no container or image') as unknown,
      });
      expect(await strata.cli([...words, '--lowest-efficiency', '1.5', 'x'])).toMatchObject({ status: 2 });
      expect(await strata.cli([...words, '--highest-wasted-bytes', 'much', 'x'])).toMatchObject({ status: 2 });
      expect(await strata.cli([...words, '--fail-on', 'worst', 'x'])).toMatchObject({ status: 2 });
      expect(await strata.cli([...words, '--nonsense', 'x'])).toMatchObject({ status: 2 });
      // Longer than a container's can be.
      expect(await strata.cli([...words, `example.org/${'x'.repeat(140)}`])).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('no container or image') as unknown,
      });
    }
  });

  it('as JSON gives the answer and the verdicts', async () => {
    const { strata } = context;
    await importImage('check:1').imported;
    const { status, stdout } = await strata.cli(['image', 'check', '--json', '--fail-on', 'medium', 'check:1']);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      ...(await check('check:1')),
      passed: false,
      bounds: [{ flag: '--fail-on', passed: false }],
    });
    expect(await strata.cli(['check', 'busybox', '--fail-on', 'high'])).toMatchObject({ status: 0 });
  });
});
