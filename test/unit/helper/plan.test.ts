import { describe, expect, it } from 'vitest';
import { commandOf, mergeEnvironment, planContainer, sharesOf } from '../../../helper/containers/plan.ts';
import {
  type CreateOptions,
  containerIdSchema,
  DEFAULT_LIMITS,
  type ImageConfig,
  imageConfigSchema,
  type Limits,
} from '../../../helper/protocol/index.ts';

const id = containerIdSchema.parse('0123456789abcdef0123456789abcdef');

function image(config: ImageConfig['config'] = {}): ImageConfig {
  return imageConfigSchema.parse({ architecture: 'amd64', os: 'linux', config, rootfs: { type: 'layers', diff_ids: [] } });
}

function plan(options: Partial<CreateOptions>, config: ImageConfig['config'] = { Cmd: ['sh'] }, limits: Partial<Limits> = {}) {
  return planContainer({
    id,
    options: { image: 'busybox', ...options },
    image: image(config),
    limits: { ...DEFAULT_LIMITS, ...limits },
    cgroup: `/strata/${id}`,
  });
}

describe('command', () => {
  const config = { Entrypoint: ['/entry'], Cmd: ['default'] };
  it('is entrypoint and command of the image', () => {
    expect(commandOf({ image: 'x' }, image(config))).toEqual(['/entry', 'default']);
  });
  it('replaces the command and keeps the entrypoint', () => {
    expect(commandOf({ image: 'x', command: ['other'] }, image(config))).toEqual(['/entry', 'other']);
  });
  it('drops the image command with the image entrypoint', () => {
    expect(commandOf({ image: 'x', entrypoint: ['/mine'] }, image(config))).toEqual(['/mine']);
    expect(commandOf({ image: 'x', entrypoint: [], command: ['ls'] }, image(config))).toEqual(['ls']);
  });
  it('refuses an image without one', () => {
    expect(() => plan({}, {})).toThrow(/names no command/);
  });
});

describe('environment', () => {
  it('lets later entries win and keeps their first place', () => {
    expect(mergeEnvironment(['A=1', 'B=2'], ['A=3', 'C='])).toEqual(['A=3', 'B=2', 'C=']);
  });
  it('has PATH and HOSTNAME, and TERM with a terminal', () => {
    const { env } = plan({ tty: true, env: ['X=y=z'] }).config.process;
    expect(env).toEqual([expect.stringMatching(/^PATH=/), 'HOSTNAME=0123456789ab', 'TERM=xterm', 'X=y=z']);
    expect(plan({}).config.process.env).not.toContain('TERM=xterm');
  });
  it('takes what the image says over the defaults', () => {
    expect(plan({}, { Cmd: ['sh'], Env: ['PATH=/opt/bin', 'broken'] }).config.process.env).toContain('PATH=/opt/bin');
  });
});

describe('process', () => {
  it('leaves a user name to be looked up inside', () => {
    expect(plan({}, { Cmd: ['sh'], User: 'web:www' }).config.process.user).toEqual({ uid: 0, gid: 0, username: 'web:www' });
    expect(plan({ user: '1000' }, { Cmd: ['sh'], User: 'web' }).config.process.user.username).toBe('1000');
    expect(plan({}).config.process.user).toEqual({ uid: 0, gid: 0 });
  });
  it("starts in the asked, the image's, or the root directory", () => {
    expect(plan({ workingDirectory: '/a' }, { Cmd: ['sh'], WorkingDir: '/b' }).config.process.cwd).toBe('/a');
    expect(plan({}, { Cmd: ['sh'], WorkingDir: 'b' }).config.process.cwd).toBe('/b');
    expect(plan({}).config.process.cwd).toBe('/');
  });
  it("has Docker's capabilities, and those that were asked for", () => {
    expect(plan({}).capabilities).toHaveLength(14);
    expect(plan({ capAdd: ['net_admin'], capDrop: ['CAP_KILL'] }).capabilities).toEqual(expect.arrayContaining(['CAP_NET_ADMIN']));
    expect(plan({ capDrop: ['ALL'] }).capabilities).toEqual([]);
    expect(plan({ capDrop: ['ALL'], capAdd: ['CHOWN'] }).capabilities).toEqual(['CAP_CHOWN']);
    expect(plan({ capAdd: ['ALL'], capDrop: ['SYS_ADMIN'] }).capabilities).not.toContain('CAP_SYS_ADMIN');
    expect(() => plan({ capAdd: ['FLY'] })).toThrow(/no capability "FLY"/);
  });
  it('forbids new privileges unless told otherwise', () => {
    expect(plan({}).config.process.noNewPrivileges).toBe(true);
    expect(plan({ noNewPrivileges: false }).config.process.noNewPrivileges).toBe(false);
  });
});

describe('linux', () => {
  it('has six namespaces, and more when asked', () => {
    expect(plan({}).namespaces).toEqual(['mount', 'pid', 'network', 'uts', 'ipc', 'cgroup']);
    const map = [{ containerId: 0, hostId: 100_000, size: 65_536 }];
    const rootless = plan({ userNamespace: { uidMaps: map, gidMaps: map }, timeNamespace: { boottimeSeconds: 5 } });
    expect(rootless.namespaces).toContain('user');
    expect(rootless.config.linux.uidMappings).toEqual([{ containerID: 0, hostID: 100_000, size: 65_536 }]);
    expect(rootless.config.linux.timeOffsets).toEqual({ monotonic: { secs: 0, nanosecs: 0 }, boottime: { secs: 5, nanosecs: 0 } });
  });
  it('writes only limits that are set', () => {
    expect(Object.keys(plan({}).config.linux.resources)).toEqual(['devices']);
    const { resources } = plan({}, { Cmd: ['sh'] }, { cpuQuotaUs: 20_000, memoryMaxBytes: 64, memorySwapMaxBytes: 128, pidsMax: 9 }).config
      .linux;
    expect(resources.cpu).toEqual({ quota: 20_000, period: 100_000 });
    expect(resources.memory).toEqual({ limit: 64, swap: 128 });
    expect(resources.pids).toEqual({ limit: 9 });
  });
  it('gives shares that convert back to the same weight', () => {
    for (const weight of [1, 2, 50, 99, 101, 500, 9999, 10_000]) {
      expect(1 + Math.floor(((sharesOf(weight) - 2) * 9999) / 262_142)).toBe(weight);
    }
  });
  it('puts tmpfs mounts behind the usual ones', () => {
    expect(plan({ tmpfs: { '/run': 'size=1m' } }).config.mounts.at(-1)).toEqual({
      destination: '/run',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', 'noexec', 'size=1m'],
    });
  });
});

describe('end', () => {
  it('knows the stop signal by any of its names', () => {
    expect(plan({}).stopSignal).toBe('SIGTERM');
    expect(plan({ stopSignal: '2' }).stopSignal).toBe('SIGINT');
    expect(plan({}, { Cmd: ['sh'], StopSignal: 'quit' }).stopSignal).toBe('SIGQUIT');
    expect(() => plan({ stopSignal: 'SIGNOPE' })).toThrow(/no signal/);
  });
});
