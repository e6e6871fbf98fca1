// How fast images come in: unpacked from an OCI layout, pulled from a registry on the loopback; and how fast many are listed.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { ImageLayout } from '../integration/support/imageLayout.ts';
import { Registry } from '../integration/support/registry.ts';
import type { Strata } from '../integration/support/strata.ts';
import { type Bringer, callEngine, compareBringers, run } from './bringers.ts';
import { isInstalled } from './contenders.ts';
import type { Engine } from './engines.ts';
import { type BenchImage, benchImage, type LayerCompression } from './imageSet.ts';
import { row } from './rounds.ts';
import { summarize } from './statistics.ts';

interface ImageBench {
  readonly strata: Strata;
  readonly engines: readonly Engine[];
  readonly directory: string;
  readonly rounds: number;
  readonly names: readonly string[];
  readonly compressions: readonly LayerCompression[];
}

export async function compareImages({ strata, engines, directory, rounds, names, compressions }: ImageBench): Promise<void> {
  const peak = new PeakMemory(strata.helper.pid);
  await using registry = await Registry.start(directory);
  for (const name of names) {
    for (const compression of compressions) {
      const image = benchImage(name, compression);
      if (image === undefined) {
        console.log(`\n${name}: left out, for mmdebstrap or its mirror is missing`);
        continue;
      }
      const title = `${name}, ${compression}, ${image.blobs.length} layers`;
      await compareBringers(`Unpack of an OCI layout: ${title}`, unpackers(image, { strata, engines, directory }), rounds);
      const remote = `${registry.host}/${name}-${compression}:bench`;
      await registry.push(image.layout, 'bench', `${name}-${compression}:bench`);
      await compareBringers(`Pull from a registry on the loopback: ${title}`, pullers(remote, { strata, engines, directory }), rounds);
    }
  }
  console.log(row(['\nhelper, most resident MiB', peak.mib().toFixed(0)]));
  await measureList(strata, directory);
}

type Surroundings = Omit<ImageBench, 'rounds' | 'names' | 'compressions'>;

function unpackers(image: BenchImage, { strata, engines, directory }: Surroundings): Bringer[] {
  const list: Bringer[] = [
    {
      name: 'strata',
      bring: async () => {
        await strata.connection.request('image.import', { source: { kind: 'ociLayout', path: image.layout }, reference: 'bench:unpacked' });
      },
      forget: () => removeFromStrata(strata, 'bench:unpacked'),
    },
    floor(image, directory),
  ];
  const place = path.join(directory, 'umoci');
  if (isInstalled('umoci') && image.compression === 'gzip') {
    list.push({
      name: 'umoci unpack',
      bring: () => run('umoci', ['unpack', '--image', `${image.layout}:bench`, place]),
      forget: () => fs.rmSync(place, { recursive: true }),
    });
  }
  // podman names an image after the path that it came from, and takes only paths that are names.
  const link = `/tmp/strata-bench-${process.pid}-layout`;
  for (const engine of engines.filter(({ name }) => name === 'podman')) {
    list.push({
      name: 'podman pull oci:',
      bring: () => {
        fs.symlinkSync(image.layout, link);
        try {
          callEngine(engine, ['pull', '--quiet', `oci:${link}:bench`]);
        } finally {
          fs.rmSync(link);
        }
      },
      forget: () => callEngine(engine, ['rmi', '--all', '--force']),
    });
  }
  return list;
}

/** Each layer into a directory of its own, nothing digested, nothing synced. */
function floor(image: BenchImage, directory: string): Bringer {
  const place = path.join(directory, 'tar');
  const unpack = image.compression === 'gzip' ? 'gzip -d' : 'zstd -dq';
  const script = `n=0; for blob; do n=$((n+1)); mkdir -p "$OUT/$n"; ${unpack} <"$blob" | tar -x -p --numeric-owner -C "$OUT/$n" || exit 1; done`;
  return {
    name: `floor: ${unpack} | tar`,
    bring: () => run('bash', ['-o', 'pipefail', '-c', script, 'bash', ...image.blobs], { OUT: place }),
    forget: () => fs.rmSync(place, { recursive: true }),
  };
}

function pullers(remote: string, { strata, engines, directory }: Surroundings): Bringer[] {
  const list: Bringer[] = [
    {
      name: 'strata pull',
      bring: async () => {
        await strata.connection.request('image.pull', { reference: remote });
      },
      forget: () => removeFromStrata(strata, remote),
    },
  ];
  for (const engine of engines) {
    list.push({
      name: `${engine.name} pull`,
      bring: () => callEngine(engine, ['pull', '--quiet', ...(engine.name === 'podman' ? ['--tls-verify=false'] : []), remote]),
      forget: () => callEngine(engine, ['rmi', '--force', remote]),
    });
  }
  // The one that dockerd has started for itself.
  const socket = path.join(directory, 'docker/exec/containerd/containerd.sock');
  if (fs.existsSync(socket) && isInstalled('ctr')) {
    const ctr = ['--address', socket, '--namespace', 'bench', 'images'];
    list.push({
      name: 'ctr pull',
      bring: () => run('ctr', [...ctr, 'pull', '--plain-http', '--snapshotter', 'overlayfs', remote]),
      forget: () => run('ctr', [...ctr, 'rm', '--sync', remote]),
    });
  }
  const place = path.join(directory, 'skopeo');
  if (isInstalled('skopeo')) {
    list.push({
      name: 'skopeo copy (no unpacking)',
      bring: () =>
        run('skopeo', ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false', `docker://${remote}`, `oci:${place}:bench`]),
      forget: () => fs.rmSync(place, { recursive: true }),
    });
  }
  return list;
}

async function removeFromStrata(strata: Strata, reference: string): Promise<void> {
  await strata.connection.request('image.remove', { image: reference });
}

/** A request for all images where there are a thousand, each with a config of its own. */
async function measureList(strata: Strata, directory: string): Promise<void> {
  const count = 1000;
  const layout = new ImageLayout(path.join(directory, 'many'));
  const tar = Buffer.alloc(1024);
  for (let index = 0; index < count; index += 1) layout.add(`tag-${index}`, [tar], { command: [`command-${index}`] });
  for (let index = 0; index < count; index += 1) {
    const source = { kind: 'ociLayout', path: layout.directory, name: `tag-${index}` } as const;
    await strata.connection.request('image.import', { source, reference: `bench/many:${index}` });
  }
  const times: number[] = [];
  for (let round = 0; round < 50; round += 1) {
    const start = performance.now();
    const { images } = await strata.connection.request('image.list', {});
    times.push(performance.now() - start);
    if (images.length < count) throw new Error(`${images.length} images are listed`);
  }
  const { median, p5 } = summarize(times);
  console.log(`\nList of ${count} images, milliseconds`);
  console.log(row(['', 'median', 'p5', 'first']));
  console.log(row(['image.list', median.toFixed(1), p5.toFixed(1), (times[0] ?? Number.NaN).toFixed(1)]));
}

/** The most that a process had resident since this was made. */
class PeakMemory {
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
    fs.writeFileSync(`/proc/${pid}/clear_refs`, '5'); // proc(5): resets VmHWM
  }

  mib(): number {
    const match = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${this.#pid}/status`, 'utf8'));
    return Number(match?.[1] ?? Number.NaN) / 1024;
  }
}
