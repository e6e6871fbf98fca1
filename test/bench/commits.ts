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
const committed = 'bench-committed';
const directories = 100;
const filesEach = 1000;
const changedDirectories = 10;
const change = `for d in $(seq 0 ${changedDirectories - 1}); do for f in /data/$d/*; do echo changed > $f; done; done`;

export async function compareCommits({ strata, engines, directory, rounds }: CommitBench): Promise<void> {
  const rootfs = makeRootfs(directory);
  const { connection } = strata;
  await connection.request('image.import', { source: { kind: 'directory', path: rootfs }, reference: image });
  const { id } = await strata.run({ image, name: container, command: ['sh', '-c', change] });
  const commit = async (): Promise<void> => {
    await connection.request('container.commit', { container, reference: committed });
  };
  const forget = async (): Promise<void> => {
    await connection.request('image.remove', { image: committed });
  };
  const upper = path.join(strata.place.root, 'containers', id, 'upper');
  const commits: Bringer[] = [
    { name: 'strata commit', bring: commit, forget },
    {
      name: 'floor: tar of the upper',
      bring: () => run('bash', ['-c', 'tar -c -C "$UPPER" . | cat >/dev/null'], { UPPER: upper }),
      forget: () => {},
    },
  ];
  const runs: Bringer[] = [
    {
      name: 'strata commit and run',
      bring: async () => {
        await commit();
        await strata.run({ image: committed, command: ['true'], autoRemove: true });
      },
      forget,
    },
  ];
  const archive = path.join(directory, 'rootfs.tar');
  run('tar', ['-c', '-f', archive, '-C', rootfs, '.']);
  for (const engine of engines) {
    callEngine(engine, ['import', archive, image]);
    callEngine(engine, ['run', '--name', container, ...engine.runOptions, image, 'sh', '-c', change]);
    const commitBy = (): void => callEngine(engine, ['commit', ...(engine.name === 'podman' ? ['--quiet'] : []), container, committed]);
    const forgetBy = (): void => callEngine(engine, ['rmi', committed]);
    commits.push({ name: `${engine.name} commit`, bring: commitBy, forget: forgetBy });
    runs.push({
      name: `${engine.name} commit and run`,
      bring: () => {
        commitBy();
        callEngine(engine, ['run', '--rm', ...engine.runOptions, committed, 'true']);
      },
      forget: forgetBy,
    });
  }
  fs.rmSync(archive);
  fs.rmSync(rootfs, { recursive: true });
  const what = `of a container that changed ${changedDirectories * filesEach} of ${directories * filesEach} files`;
  await compareBringers(`Commit ${what}`, commits, rounds);
  // A commit of strata is unpacked after its answer: the first container waits for that.
  await compareBringers(`Commit ${what}, and a container of it`, runs, rounds);
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
