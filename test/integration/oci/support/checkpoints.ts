import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { expect } from 'vitest';
import { type Config, type Runtime, runtimeBinary } from './runtime.ts';

/** In the virtual machine criu needs patience. */
export const patienceMs = 60_000;

/** Checkpoints and restores of the containers of a test file's runtime. */
export class Checkpoints {
  readonly #context: { readonly runtime: Runtime };

  constructor(context: { readonly runtime: Runtime }) {
    this.#context = context;
  }

  /** A container whose streams are the null device: a file of the host's could not be found again from inside. */
  start(command: string, change?: (config: Config) => void): string {
    const bundle = this.#context.runtime.bundle(command, change);
    const id = path.basename(bundle);
    const args = ['--root', this.#context.runtime.root, 'run', '--detach', '--bundle', bundle, id];
    expect(spawnSync(runtimeBinary, args, { stdio: 'ignore' }).status).toBe(0);
    return id;
  }

  /** criu takes its time here: no limit but the test's. */
  call(args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    const { status, stdout, stderr } = spawnSync(runtimeBinary, ['--root', this.#context.runtime.root, ...args], {
      encoding: 'utf8',
      cwd: '/',
    });
    return { status, stdout, stderr };
  }

  /** Paths of a checkpoint and a restore of this container. */
  places(id: string): { readonly bundle: string; readonly images: string; readonly pidFile: string } {
    const bundle = path.join(this.#context.runtime.directory, id);
    return { bundle, images: path.join(bundle, 'images'), pidFile: path.join(bundle, 'restored.pid') };
  }

  checkpoint(id: string, ...options: string[]): void {
    const { images } = this.places(id);
    const ran = this.call(['checkpoint', '--image-path', images, ...options, id]);
    expect(ran, this.logOf(images, 'dump.log')).toMatchObject({ status: 0, stderr: '' });
  }

  /** What it says besides. */
  restore(id: string, ...options: string[]): string {
    const { runtime } = this.#context;
    const { bundle, images, pidFile } = this.places(id);
    const restoring = ['restore', '--detach', '--bundle', bundle, '--image-path', images, '--pid-file', pidFile, ...options, id];
    const said = path.join(bundle, 'restore.out');
    const out = fs.openSync(said, 'w');
    const { status } = spawnSync(runtimeBinary, ['--root', runtime.root, ...restoring], { stdio: ['ignore', 'ignore', out] });
    fs.closeSync(out);
    expect(status, `${fs.readFileSync(said, 'utf8')}\n${this.logOf(images, 'restore.log')}`).toBe(0);
    expect(runtime.state(id)).toMatchObject({ status: 'running', pid: Number(fs.readFileSync(pidFile, 'utf8')) });
    return fs.readFileSync(said, 'utf8');
  }

  logOf(images: string, name: string): string {
    const file = path.join(images, name);
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').slice(-40).join('\n') : '';
  }
}
