import type { EnginePlace } from './place.ts';
import { busyboxTar } from './place.ts';

export interface Tag {
  readonly name: string;
  readonly command: readonly string[];
}

/** An archive of an OCI layout with the busybox root file system under each of the tags: engines take images only. Its path. */
export async function makeImageArchive(place: EnginePlace, tags: readonly Tag[]): Promise<string> {
  const layout = place.file('layout');
  const bundle = place.file('bundle');
  const archive = place.file('image.tar');
  const steps = [
    ['umoci', 'init', '--layout', layout],
    ['umoci', 'new', '--image', `${layout}:base`],
    ['umoci', 'unpack', '--image', `${layout}:base`, bundle],
    ['tar', '-xf', busyboxTar, '-C', `${bundle}/rootfs`],
    ['umoci', 'repack', '--image', `${layout}:base`, bundle],
    ...tags.map(({ name, command }) => [
      ...['umoci', 'config', '--image', `${layout}:base`, '--tag', name, '--config.env', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
      ...command.flatMap((word) => ['--config.cmd', word]),
    ]),
    ['umoci', 'rm', '--image', `${layout}:base`],
    ['tar', '-cf', archive, '-C', layout, '.'],
  ];
  for (const step of steps) await place.output(step);
  return archive;
}
