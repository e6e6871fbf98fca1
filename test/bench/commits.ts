// How fast an image is made of a container that changed 10,000 of 100,000 files.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { distFile } from '../integration/support/helperProcess.ts';
import type { Strata } from '../integration/support/strata.ts';
import { type Bringer, callEngine, compareBringers, run } from './bringers.ts';
import type { Engine } from './engines.ts';

interface CommitBench {
  readonly strata: Strata;
  readonly engines: readonly Engine[];
  readonly directory: string;
  readonly rounds: number;
}

const image = 'bench-files';
const container = 'bench-changed';
const directories = 100;
const filesEach = 1000;
const changedDirectories = 10;
const change = `for d in $(seq 0 ${changedDirectories - 1}); do for f in /data/$d/*; do echo changed > $f; done; done`;

export async function compareCommits({ strata, engines, directory, rounds }: CommitBench): Promise<void> {
  const rootfs = makeRootfs(directory);
  const { connection } = strata;
  await connection.request('image.import', { source: { kind: 'directory', path: rootfs }, reference: image });
  const { id } = await strata.run({ image, name: container, command: ['sh', '-c', change] });
  const bringers: Bringer[] = [
    {
      name: 'strata commit',
      bring: async () => {
        await connection.request('container.commit', { container, reference: 'bench-committed' });
      },
      forget: async () => {
        await connection.request('image.remove', { image: 'bench-committed' });
      },
    },
    {
      name: 'floor: tar of the upper',
      bring: () =>
        run('bash', ['-c', 'tar -c -C "$UPPER" . | cat >/dev/null'], { UPPER: path.join(strata.place.root, 'containers', id, 'upper') }),
      forget: () => {},
    },
  ];
  const archive = path.join(directory, 'rootfs.tar');
  run('tar', ['-c', '-f', archive, '-C', rootfs, '.']);
  for (const engine of engines) {
    callEngine(engine, ['import', archive, image]);
    callEngine(engine, ['run', '--name', container, ...engine.runOptions, image, 'sh', '-c', change]);
    bringers.push({
      name: `${engine.name} commit`,
      bring: () => callEngine(engine, ['commit', ...(engine.name === 'podman' ? ['--quiet'] : []), container, 'bench-committed']),
      forget: () => callEngine(engine, ['rmi', 'bench-committed']),
    });
  }
  fs.rmSync(archive);
  fs.rmSync(rootfs, { recursive: true });
  const title = `Commit of a container that changed ${changedDirectories * filesEach} of ${directories * filesEach} files`;
  await compareBringers(title, bringers, rounds);
}

/** Busybox, and files of 1 to 2 KB. */
function makeRootfs(directory: string): string {
  const rootfs = path.join(directory, 'rootfs');
  fs.mkdirSync(rootfs);
  run('tar', ['-x', '-f', distFile('images/busybox.tar'), '-C', rootfs]);
  for (let index = 0; index < directories; index += 1) {
    const place = path.join(rootfs, 'data', String(index));
    fs.mkdirSync(place, { recursive: true });
    for (let file = 0; file < filesEach; file += 1) {
      fs.writeFileSync(path.join(place, String(file)), `${index} ${file} `.repeat(100 + (file % 100)));
    }
  }
  return rootfs;
}
