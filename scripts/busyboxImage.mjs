// The rootfs of the embedded default image, made of Debian's busybox-static: no registry is needed to try Strata.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeTar } from './tarWriter.mjs';

const directories = {
  bin: 0o755,
  dev: 0o755,
  etc: 0o755,
  home: 0o755,
  proc: 0o555,
  root: 0o700,
  run: 0o755,
  sbin: 0o755,
  sys: 0o555,
  tmp: 0o1777,
  usr: 0o755,
  'usr/bin': 0o755,
  'usr/sbin': 0o755,
  var: 0o755,
  'var/log': 0o755,
  'var/spool': 0o755,
  'var/tmp': 0o1777,
};

// /etc/hosts, hostname and resolv.conf are not here: they belong to the init layer of each container.
const files = {
  'etc/passwd': {
    mode: 0o644,
    lines: [
      'root:x:0:0:root:/root:/bin/sh',
      'daemon:x:1:1:daemon:/usr/sbin:/bin/false',
      'www-data:x:33:33:www-data:/var/www:/bin/false',
      'nobody:x:65534:65534:nobody:/home:/bin/false',
    ],
  },
  'etc/group': { mode: 0o644, lines: ['root:x:0:', 'daemon:x:1:', 'tty:x:5:', 'www-data:x:33:', 'nogroup:x:65534:'] },
  // Locked passwords, as su and login look here first.
  'etc/shadow': { mode: 0o640, lines: ['root:*:19700:0:99999:7:::', 'nobody:*:19700:0:99999:7:::'] },
};

/** Where busybox wants each of its applets, e.g. `usr/bin/[`. */
function appletPaths(busybox) {
  const list = spawnSync(busybox, ['--list-full'], { encoding: 'utf8' });
  if (list.status !== 0) throw new Error(`'${busybox} --list-full' failed: ${list.error?.message ?? list.stderr}`);
  // `linuxrc` is the applet that is no command: it stands in for an initrd's first process.
  const paths = list.stdout.split('\n').filter((path) => !['', 'linuxrc', 'bin/busybox'].includes(path));
  const stray = paths.find((path) => !(path.slice(0, path.lastIndexOf('/')) in directories));
  if (stray !== undefined) throw new Error(`busybox wants '${stray}' in a directory that the image lacks`);
  return paths;
}

/** @param {string} busybox path of a static busybox @returns {Buffer} a tar with the whole root filesystem */
export function busyboxRootfsTar(busybox) {
  const program = readFileSync(busybox);
  // PT_INTERP's content: only a dynamic executable names the loader, which the image would not have.
  if (program.includes('/lib64/ld-linux') || program.includes('/lib/ld-linux')) {
    throw new Error(`'${busybox}' is not static: install the Debian package busybox-static`);
  }
  return writeTar([
    ...Object.entries(directories).map(([path, mode]) => ({ path, type: 'directory', mode })),
    ...Object.entries(files).map(([path, { mode, lines }]) => ({ path, type: 'file', mode, content: `${lines.join('\n')}\n` })),
    { path: 'bin/busybox', type: 'file', mode: 0o755, content: program },
    ...appletPaths(busybox).map((path) => ({ path, type: 'symlink', mode: 0o777, target: '/bin/busybox' })),
  ]);
}
