import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { distFile } from './helperProcess.ts';

/**
 * An OCI image layout of three layers, made by umoci (Debian): the embedded busybox root file system, then two layers of
 * changes. Its path; below `directory`, made once.
 */
export function makeOciLayout(directory: string): string {
  const layout = path.join(directory, 'layout');
  if (fs.existsSync(layout)) return layout;
  const umoci = (...args: string[]): void => {
    execFileSync('umoci', args, { stdio: 'pipe' });
  };
  const image = `${layout}:latest`;
  umoci('init', '--layout', layout);
  umoci('new', '--image', image);
  const change = (name: string, edit: (rootfs: string) => void): void => {
    const bundle = path.join(directory, `bundle-${name}`);
    umoci('unpack', '--image', image, bundle);
    edit(path.join(bundle, 'rootfs'));
    umoci('repack', '--image', image, '--history.created_by', `RUN ${name}`, bundle);
    fs.rmSync(bundle, { recursive: true });
  };
  change('base', (rootfs) => {
    execFileSync('tar', ['-xf', distFile('images/busybox.tar'), '-C', rootfs]);
    fs.writeFileSync(`${rootfs}/which`, 'base\n');
    fs.mkdirSync(`${rootfs}/opaque`);
    fs.writeFileSync(`${rootfs}/opaque/old`, 'old\n');
  });
  change('bottom', (rootfs) => {
    for (const name of ['which', 'bottom-too', 'bottom-only']) fs.writeFileSync(`${rootfs}/${name}`, 'bottom\n');
  });
  change('top', (rootfs) => {
    fs.writeFileSync(`${rootfs}/which`, 'top\n');
    fs.rmSync(`${rootfs}/bottom-only`);
    fs.rmSync(`${rootfs}/opaque`, { recursive: true });
    fs.mkdirSync(`${rootfs}/opaque`);
    fs.writeFileSync(`${rootfs}/opaque/new`, 'new\n');
  });
  umoci('config', '--image', image, '--config.cmd', 'sh', '--config.env', 'PATH=/bin:/sbin:/usr/bin:/usr/sbin');
  return layout;
}

export interface OciConfig {
  readonly history: readonly Record<string, unknown>[];
}

/** That layout with another image config; its path. */
export function withConfig(directory: string, change: (config: OciConfig) => object): string {
  const layout = fs.mkdtempSync(path.join(directory, 'changed-'));
  fs.cpSync(makeOciLayout(directory), layout, { recursive: true });
  const blobOf = (digest: string): string => path.join(layout, 'blobs', digest.replace(':', '/'));
  const read = (file: string) => JSON.parse(fs.readFileSync(file, 'utf8')) as unknown;
  const write = (value: object): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    fs.writeFileSync(blobOf(digest), bytes);
    return { digest, size: bytes.byteLength };
  };
  const index = read(path.join(layout, 'index.json')) as { manifests: [{ digest: string }] }; // umoci's, as the next two
  const manifest = read(blobOf(index.manifests[0].digest)) as { config: { digest: string } };
  const config = { ...manifest.config, ...write(change(read(blobOf(manifest.config.digest)) as OciConfig)) };
  index.manifests[0] = { ...index.manifests[0], ...write({ ...manifest, config }) };
  fs.writeFileSync(path.join(layout, 'index.json'), JSON.stringify(index));
  return layout;
}
