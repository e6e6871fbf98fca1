import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { useStrata } from './support/strata.ts';

const context = useStrata();
const maps = [{ containerId: 0, hostId: 200_000, size: 65_536 }];
const userNamespace = { uidMaps: maps, gidMaps: maps };

describe('a user namespace', () => {
  it('maps root to another user of the host and shares the layers without chown', async () => {
    const { strata } = context;
    const id = await strata.start({ userNamespace });
    expect(
      (await strata.exec(id, ['sh', '-c', 'id -u; stat -c %u /etc/passwd; touch /made; chown 5:5 /made; stat -c %u /made'])).stdout,
    ).toBe('0\n0\n5\n');
    const { processes } = await strata.connection.request('container.processes', { container: id });
    expect(processes[0]).toMatchObject({ hostUid: 200_000, containerUid: 0, containerPid: 1 });
    const { paths } = await strata.connection.request('container.inspect', { container: id });
    // What is on disk carries the ids of the container.
    expect(fs.statSync(`${paths.upper}/made`).uid).toBe(5);
    expect((await strata.exec(id, ['cat', '/proc/self/uid_map'])).stdout.trim().split(/\s+/)).toEqual(['0', '200000', '65536']);
  });

  it('has working /proc, /sys and /dev', async () => {
    const out = await context.strata.sh('ls /sys/class/net; test -c /dev/null && echo null; echo x > /dev/null && ps -o pid | wc -l', {
      userNamespace,
    });
    expect(out).toMatch(/^lo\nnull\n/);
  });
});

describe('a time namespace', () => {
  it('shifts the clocks that count from boot', async () => {
    const uptime = await context.strata.sh('cut -d. -f1 /proc/uptime', {
      timeNamespace: { boottimeSeconds: 1_000_000, monotonicSeconds: 1_000_000 },
    });
    expect(Number(uptime)).toBeGreaterThan(1_000_000);
  });
});
