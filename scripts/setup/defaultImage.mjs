import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { busyboxRootfsTar } from '../busyboxImage.mjs';
import { distDir, findOnPath } from '../paths.mjs';

export async function buildDefaultImage() {
  const busybox = findOnPath('busybox') ?? '/bin/busybox';
  const images = join(distDir, 'images');
  mkdirSync(images, { recursive: true });
  const temporary = join(images, '.busybox.tar.new');
  writeFileSync(temporary, busyboxRootfsTar(busybox));
  renameSync(temporary, join(images, 'busybox.tar'));
}
