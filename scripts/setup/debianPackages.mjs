// Debian packages: which, why, and how they get onto the machine.
import { spawnSync } from 'node:child_process';
import { findOnPath } from '../paths.mjs';
import { plainEnvironment, runCommand } from './runCommand.mjs';

/** Each group is one step of the set-up. A value says why the package is needed. */
export const packageGroups = {
  native: {
    'g++': 'compiles the native core',
    make: 'builds the addons of the browser workbench',
    cmake: 'configures the native build',
    'ninja-build': 'runs the native build',
    'pkg-config': 'finds the libraries below',
    'libseccomp-dev': 'compiles the seccomp profile (linked statically)',
    'libzstd-dev': 'unpacks zstd layers (linked statically)',
    'liblzma-dev': 'unpacks xz archives (linked statically)',
    'zlib1g-dev': 'packs gzip layers (linked statically)',
    'libisal-dev': 'unpacks gzip layers (the library is copied beside the addon)',
    'libssl-dev': 'sha256 of layers (libcrypto, linked statically)',
    'rapidjson-dev': "parses the runtime's JSON (headers only)",
    'doctest-dev': 'the native tests (headers only)',
    'busybox-static': 'the content of the embedded default image',
  },
  workbench: {
    python3: "node-gyp, which builds the workbench's own addons",
  },
  tests: {
    chromium: 'the end-to-end tests drive the workbench in it',
    'fonts-dejavu': 'text in their screenshots',
    mmdebstrap: 'makes root file systems of Debian, and the image of the benchmark',
    umoci: 'makes OCI image layouts to import',
    zstd: 'compresses layers to import',
    'xz-utils': 'compresses archives to import',
    bzip2: 'compresses layers that an import must refuse',
    attr: 'sets extended attributes that an import must keep',
    python3: 'receives the descriptors that the runtime hands to an engine',
    uidmap: 'maps ranges of ids for the runtime without root',
    criu: 'checkpoints and restores containers for the runtime',
    systemd: 'makes the scopes that the systemd driver asks for, in namespaces of its own',
    'debian-archive-keyring': 'signs the packages that the virtual machine is made of',
    e2fsprogs: 'makes the loop-mounted stores of heavy tests and the disk of the virtual machine',
  },
  engines: {
    'docker.io': 'an engine that must work with our runtime: dockerd, docker, Swarm',
    containerd: 'an engine that must work with our runtime: below Docker, and by itself with ctr',
    podman: 'an engine that must work with our runtime: containers, pods, builds',
    buildah: 'an engine that must work with our runtime: RUN in a build',
    conmon: 'watches the containers of podman',
    catatonit: 'the first process of a pod of podman',
    'containernetworking-plugins': "podman's networks, and those of pods below containerd",
    iptables: 'published ports of all of them',
    iproute2: 'the network namespaces that the engines are tested in',
    'docker-registry': 'a registry to pull from',
    skopeo: 'pushes images of every format to it',
  },
  bench: {
    crun: 'the OCI runtime that ours is compared with',
    runc: 'the same',
    bubblewrap: 'a sandbox that starts are compared with',
  },
};

/** Programs that another package may have brought (docker-ce conflicts with docker.io): then it is not ours to replace. */
const broughtByOthers = { 'docker.io': 'dockerd', containerd: 'containerd' };

/** Not in every distribution (Ubuntu has no criu): what needs them is skipped there. */
const optional = ['criu'];

/** Groups with services that installing must not start: the tests start daemons of their own, and no other is wanted on the machine. */
const withServices = ['engines'];

function missingPackages(packages) {
  const query = spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...packages], {
    encoding: 'utf8',
  });
  if (query.error) {
    throw new Error(`dpkg-query is missing: install by hand what stands for ${packages.join(', ')} on this system`);
  }
  const installed = new Set();
  for (const line of query.stdout.split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name);
  }
  return packages.filter((name) => !installed.has(name));
}

function isOffered(name) {
  const policy = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8', env: plainEnvironment({ LC_ALL: 'C' }) });
  return /^ {2}Candidate: (?!\(none\))/m.test(policy.stdout ?? '');
}

/** What of a group has to be installed still. CHROMIUM names a browser that serves where the distribution has no package. */
export function missingOf(group) {
  const wanted = Object.keys(packageGroups[group]).filter((name) => name !== 'chromium' || !process.env.CHROMIUM);
  return missingPackages(wanted).filter((name) => broughtByOthers[name] === undefined || findOnPath(broughtByOthers[name]) === undefined);
}

const isWanted = (name) => !optional.includes(name) || isOffered(name);

export const isInstalled = (group) => missingOf(group).filter(isWanted).length === 0;

/** The words that make the rest of a command line run as root. */
export function asRoot(purpose) {
  if (process.getuid() === 0) return [];
  if (findOnPath('sudo') === undefined) {
    throw new Error(`${purpose} needs root, and there is no sudo: run it as root`);
  }
  // Without a terminal sudo cannot ask; -n makes it say so instead of hanging.
  return process.stdin.isTTY ? ['sudo'] : ['sudo', '-n'];
}

/** Runs its arguments; until they end, Debian's maintainer scripts start no service, as the administrator's policy-rc.d would say it. */
const withoutServices = [
  'policy=/usr/sbin/policy-rc.d',
  'if [ ! -e "$policy" ]; then',
  '  trap \'rm -f "$policy"\' EXIT',
  '  trap "exit 1" HUP INT TERM',
  '  printf "#!/bin/sh\\nexit 101\\n" >"$policy" && chmod 755 "$policy" || exit 1',
  'fi',
  '"$@"',
].join('\n');

export async function installGroup(group, { logFile, say }) {
  const missing = missingOf(group);
  // sudo drops the environment, so the variable travels as an argument of env.
  const apt = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', '-o', 'DPkg::Lock::Timeout=300'];
  const run = (...words) => {
    const [command, ...args] = [...asRoot('installing Debian packages'), ...words];
    return runCommand(command, args, { logFile, env: plainEnvironment() });
  };
  // A failing third-party source must not stop us while Debian's own lists came through: install decides.
  await run(...apt, 'update').catch(() => say('apt-get update had errors; trying on'));
  const packages = missing.filter(isWanted);
  for (const name of packages) say(`installing ${name}: ${packageGroups[group][name]}`);
  const install = [...apt, 'install', '-y', '--no-install-recommends'];
  if (!withServices.includes(group)) return run(...install, ...packages);
  // What is there already stays: a package that conflicts with it is an error to look at, not to resolve.
  return run('sh', '-c', withoutServices, 'sh', ...install, '--no-remove', ...packages);
}
