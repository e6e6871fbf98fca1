import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import type { Addon } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import { StrataError } from '../protocol/index.ts';
import {
  ALLOWED_BY_CAPABILITY,
  ALWAYS_ALLOWED,
  ARCHITECTURES,
  CLONE_NAMESPACE_FLAGS,
  ENOSYS,
  PERSONALITIES,
  SOCKET_FAMILIES,
  SOCKET_FAMILIES_BELOW,
} from './seccompProfile.ts';

interface SeccompArgument {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: 'SCMP_CMP_LT' | 'SCMP_CMP_EQ' | 'SCMP_CMP_MASKED_EQ';
}

interface SeccompRule {
  readonly names: readonly string[];
  readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
  readonly errnoRet?: number;
  readonly args?: readonly SeccompArgument[];
}

/** runtime-spec's linux.seccomp. */
export interface SeccompConfig {
  readonly defaultAction: 'SCMP_ACT_ERRNO';
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly SeccompRule[];
}

const EPERM = 1;

/** The default profile for who has these capabilities. Pure. */
export function defaultSeccomp(capabilities: readonly string[], machine: string = arch()): SeccompConfig {
  const architecture = ARCHITECTURES[machine];
  if (architecture === undefined) {
    throw new StrataError('FEATURE_MISSING', `there is no seccomp profile for ${machine}`, { hint: 'Run with seccomp "unconfined".' });
  }
  const byCapability = capabilities.flatMap((name) => ALLOWED_BY_CAPABILITY[name] ?? []);
  const allowed = [...new Set([...ALWAYS_ALLOWED, ...architecture.allowed, ...byCapability])].sort();
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: architecture.names,
    syscalls: [
      { names: allowed, action: 'SCMP_ACT_ALLOW' },
      allow('socket', { index: 0, value: SOCKET_FAMILIES_BELOW, op: 'SCMP_CMP_LT' }),
      ...SOCKET_FAMILIES.map((value) => allow('socket', { index: 0, value, op: 'SCMP_CMP_EQ' })),
      ...PERSONALITIES.map((value) => allow('personality', { index: 0, value, op: 'SCMP_CMP_EQ' })),
      ...(capabilities.includes('CAP_SYS_ADMIN') ? [] : unprivilegedClone()),
    ],
  };
}

function allow(name: string, argument: SeccompArgument): SeccompRule {
  return { names: [name], action: 'SCMP_ACT_ALLOW', args: [argument] };
}

function unprivilegedClone(): SeccompRule[] {
  // A filter sees clone's flags but not clone3's, which lie in memory.
  return [
    allow('clone', { index: 0, value: CLONE_NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }),
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ];
}

/** Compiled profiles by their digest, kept in the run directory: compiling takes 8-10 ms of cpu. */
export class SeccompPrograms {
  readonly #directory: string;
  readonly #addon: Addon;
  readonly #runtime: string;
  readonly #compiled = new Map<string, Promise<string>>();

  constructor(options: { directory: string; addon: Addon; runtime: string }) {
    this.#directory = options.directory;
    this.#addon = options.addon;
    this.#runtime = options.runtime;
  }

  /** Path of the program of the default profile for these capabilities. */
  async program(capabilities: readonly string[]): Promise<string> {
    const key = capabilities.join(' ');
    const known = this.#compiled.get(key);
    if (known !== undefined) return await known;
    const compiling = this.#compile(defaultSeccomp(capabilities));
    this.#compiled.set(key, compiling);
    try {
      return await compiling;
    } catch (error) {
      this.#compiled.delete(key);
      throw error;
    }
  }

  async #compile(config: SeccompConfig): Promise<string> {
    const input = new TextEncoder().encode(JSON.stringify(config));
    // What a profile is compiled to has changed once: younger calls get ENOSYS.
    const path = join(this.#directory, `${createHash('sha256').update('ENOSYS').update(input).digest('hex')}.bpf`);
    if (existsSync(path)) return path;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    let ended: { exitCode: number; stderr: string };
    try {
      ended = await this.#addon.runRuntime(this.#runtime, ['compile-seccomp', '--output', path], { input, timeoutMs: 30_000 });
    } catch (error) {
      throw fromNative(error, `run '${this.#runtime}'`);
    }
    if (ended.exitCode !== 0) {
      throw new StrataError('FEATURE_MISSING', `cannot compile the seccomp profile: ${ended.stderr.trim() || `status ${ended.exitCode}`}`);
    }
    return path;
  }
}
