import { describe, expect, it } from 'vitest';
import { HostService } from '../../../helper/host/hostService.ts';
import type { Addon } from '../../../helper/native/addon.ts';

describe('host.info', () => {
  it('asks the runtime again after it could not be asked, and not after it could', async () => {
    let asked = 0;
    const addon = {
      kernelFeatures: () => Promise.resolve([]),
      runRuntime: () => {
        asked += 1;
        return asked === 1
          ? Promise.reject(new Error('no processes today'))
          : Promise.resolve({ exitCode: 0, stdout: '1.2\n', stderr: '' });
      },
    };
    const host = new HostService({
      addon: addon as unknown as Addon, // the two functions that are asked for
      runtime: '/runtime',
      facts: {
        bootId: 'b',
        resolvConf: '',
        cgroup: { mode: 'v2', controllers: ['cpu', 'cpuset', 'memory', 'pids'], mounts: {}, swapAccounting: true, psi: true },
        capacity: { cpus: 1, onlineCpus: '0', memoryNodes: '0', memoryBytes: 1, swapAccounting: true, controllers: [] },
      },
      paths: { root: '/r', run: '/run', socket: '/s' },
      version: '1',
      warnings: () => [`asked ${asked} times`],
    });
    await expect(host.info()).rejects.toThrow('no processes today');
    expect(await host.info()).toMatchObject({ runtimeVersion: '1.2', warnings: ['asked 2 times'] });
    await host.info();
    expect(asked).toBe(2);
  });
});
