import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { until } from './support/command.ts';
import { Docker } from './support/docker.ts';

const test = requires({ root: true, commands: ['dockerd', 'docker', 'containerd', 'ip', 'iptables'] });

/** Two machines, as far as Docker can tell: a manager and a worker, each in its network namespace, with a cable between them. */
let manager: Docker | undefined;
let worker: Docker | undefined;

function both(): readonly [Docker, Docker] {
  if (manager === undefined || worker === undefined) throw new Error('the swarm is there from beforeAll on');
  return [manager, worker];
}

beforeAll(async () => {
  [manager, worker] = await Promise.all([Docker.open(), Docker.open()]);
  const ip = (docker: Docker, ...args: readonly string[]): unknown => {
    const [program = '', ...words] = docker.place.inNetwork('ip', ...args);
    return execFileSync(program, words);
  };
  ip(manager, 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', String(worker.place.networkPid));
  for (const [index, docker] of both().entries()) {
    ip(docker, 'address', 'add', `10.111.0.${index + 1}/24`, 'dev', 'cable');
    ip(docker, 'link', 'set', 'cable', 'up');
  }
  await manager.output('swarm', 'init', '--advertise-addr', '10.111.0.1');
  const token = (await manager.output('swarm', 'join-token', '--quiet', 'worker')).trim();
  await worker.output('swarm', 'join', '--advertise-addr', '10.111.0.2', '--token', token, '10.111.0.1:2377');
});

afterEach(async () => {
  const left = (): readonly string[] => both().flatMap((docker) => docker.leftovers());
  await until(() => left().length === 0, 'the tasks to be gone').catch(() => {});
  expect(left()).toEqual([]);
});

afterAll(async () => {
  await worker?.run('swarm', 'leave', '--force');
  await manager?.run('swarm', 'leave', '--force');
  await Promise.all([manager?.close(), worker?.close()]);
});

/** What runs on a node of a service: `runtime version` of each container. */
async function tasksOn(docker: Docker): Promise<string[]> {
  const ids = (await docker.output('ps', '--quiet', '--filter', 'label=com.docker.swarm.service.name=web')).split('\n').filter(Boolean);
  const template = '{{.HostConfig.Runtime}} {{range .Config.Env}}{{.}} {{end}}';
  return await Promise.all(
    ids.map(
      async (id) =>
        /^(\S+).* VERSION=(\S+)/
          .exec(await docker.inspect(id, template))
          ?.slice(1, 3)
          .join(' ') ?? 'unknown',
    ),
  );
}

describe('a swarm of two nodes', () => {
  test('runs, scales, updates and removes a service, all of it on Strata', async () => {
    const [first, second] = both();
    const options = [
      '--name',
      'web',
      '--replicas',
      '4',
      '--env',
      'VERSION=1',
      '--no-resolve-image',
      '--detach',
      '--stop-grace-period',
      '2s',
    ];
    const web = 'trap "exit 0" TERM; while :; do sleep 0.1; done';
    const updates = ['--update-parallelism', '2', '--update-delay', '0s', '--update-monitor', '200ms', '--restart-delay', '0s'];
    await first.output('service', 'create', ...options, ...updates, 'busybox', 'sh', '-c', web);
    const tasks = async (): Promise<string[][]> => await Promise.all([tasksOn(first), tasksOn(second)]);
    const settles = async (each: number, version: number): Promise<void> => {
      const wanted = JSON.stringify([0, 1].map(() => Array.from({ length: each }, () => `strata ${version}`)));
      let last = '';
      const isSettled = async (): Promise<boolean> => {
        last = JSON.stringify(await tasks().catch((): string[][] => [])); // a container may end between two questions
        return last === wanted;
      };
      await until(isSettled, 'the service to settle', 40_000).catch((error: unknown) => {
        throw new Error(`${String(error)}: ${last} instead of ${wanted}`);
      });
    };
    await settles(2, 1);
    expect((await first.output('node', 'ls', '--format', '{{.Status}}')).match(/Ready/g)).toHaveLength(2);
    await first.output('service', 'scale', '--detach', 'web=6');
    await settles(3, 1);
    await first.output('service', 'update', '--detach', '--env-add', 'VERSION=2', 'web');
    await settles(3, 2);
    const id = (await second.output('ps', '--quiet', '--latest', '--filter', 'status=running')).trim();
    expect(await second.output('exec', id, 'sh', '-c', 'echo $VERSION')).toBe('2\n');
    await first.output('service', 'rm', 'web');
    await until(async () => (await tasks().catch(() => [['ending']])).flat().length === 0, 'the tasks to end');
  }, 120_000);
});
