import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Addon } from '../native/addon.ts';
import type { Role } from '../protocol/index.ts';

export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Who may do more than read. */
export interface AccessRules {
  readonly ownerUid: number | undefined;
  readonly groupGid: number | undefined;
}

export const ACCESS_GROUP = 'strata';

/** gid of a group in /etc/group; undefined where there is none. */
export function lookUpGroup(name: string, groupFile = '/etc/group'): number | undefined {
  const line = readFileSync(groupFile, 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${name}:`));
  const gid = Number(line?.split(':')[2]);
  return Number.isInteger(gid) ? gid : undefined;
}

/** Name of a user in /etc/passwd, or "uid 1000". */
export function userName(uid: number, passwdFile = '/etc/passwd'): string {
  try {
    const fields = readFileSync(passwdFile, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .find(([, , number]) => number === String(uid));
    return fields?.[0]?.slice(0, 32) ?? `uid ${uid}`;
  } catch {
    return `uid ${uid}`;
  }
}

/** Pure. Who got as far as connecting may read; control is for root, the owner and the group. */
export function roleOf(peer: Peer, rules: AccessRules): Role {
  const inGroup = rules.groupGid !== undefined && (peer.gid === rules.groupGid || peer.groups.includes(rules.groupGid));
  return peer.uid === 0 || peer.uid === rules.ownerUid || inGroup ? 'control' : 'observe';
}

export function peerOf(socket: Socket, addon: Addon): Peer {
  // Node has no public way to a socket's descriptor; `_handle` has been there since the beginning.
  const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle;
  const fd = handle?.fd;
  if (fd === undefined || fd < 0) throw new Error('the connection has no descriptor: it is closed already');
  return addon.peerCredentials(fd);
}
