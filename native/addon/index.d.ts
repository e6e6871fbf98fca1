// The native addon's interface, written by hand. Everything asynchronous runs on a worker and settles one promise; a rejection
// is a NativeError. Paths are absolute host paths that the helper made; every path *below* a root that a container or image could have
// shaped is resolved by the addon with openat2(2) and never by string.

/** What a rejected promise (or a throwing call) carries. */
export interface NativeError extends Error {
  /**
   * Symbolic errno ("ENOENT", "ECANCELED" for an aborted signal, "ETIMEDOUT", "EAGAIN" where the host has no room for a thread), or a code of Strata's native core: "CORRUPT_ARCHIVE", "UNSAFE_PATH",
   * "UNSUPPORTED", "LIMIT_REJECTED" (writeLimits, and what is too large for applyLayer or packDirectory). An argument of the wrong kind throws a TypeError at once.
   */
  code: string;
  errno: number;
  syscall?: string;
  path?: string;
  /** A next step for people, where the core knows one. */
  hint?: string;
}

// ---- peers ---------------------------------------------------------------------------------------------------------------

/** SO_PEERCRED and SO_PEERGROUPS of a connected unix socket. Throws where `fd` is none. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number; groups: number[] };

// ---- supervisors ---------------------------------------------------------------------------------------------------------

/**
 * Starts `runtime arguments…` with posix_spawn (no fork of this large process) in a session of its own, an environment of PATH alone, cwd "/" and no
 * descriptors but 0 to 2, and waits for the foreground process to end; a daemon that it leaves behind is not waited for, even if it keeps the pipes.
 * Resolves with its exit code (128 + n for signal n), stdout (1 MiB at most) and stderr (64 KiB at most). `input` goes to its stdin, else /dev/null.
 * Rejects where it cannot be spawned, and with ETIMEDOUT when it was killed after `timeoutMs`.
 */
export function runRuntime(
  runtime: string,
  runtimeArguments: readonly string[],
  options?: { input?: Uint8Array; timeoutMs?: number },
): Promise<{ exitCode: number; stdout: string; stderr: string }>;

// ---- cgroups -------------------------------------------------------------------------------------------------------------

export type CgroupMode = 'v1' | 'v2' | 'hybrid';

/** How this host's hierarchies are mounted, read from /proc/self/mountinfo and /proc/cgroups. */
export interface CgroupHost {
  mode: CgroupMode;
  /** Controllers that can be used for containers, e.g. ["cpu", "memory"], whatever hierarchy they live in. */
  controllers: string[];
  /** Mount point of each v1 controller; the unified tree under "". */
  mounts: Record<string, string>;
  /** Whether cgroup v1 or v2 counts swap, and whether PSI is there. */
  swapAccounting: boolean;
  psi: boolean;
}
export function cgroupHost(): CgroupHost;

/** Limits in the host's terms; `null` is "no limit". On v1 and v2 alike cpuWeight is v2's 1..10000 (v1 shares are converted). */
export interface CgroupLimits {
  cpuQuotaUs: number | null;
  cpuPeriodUs: number;
  cpuWeight: number;
  /** A list as cpuset(7) writes it ("0-1,3"); null: not restricted. */
  cpusetCpus: string | null;
  cpusetMems: string | null;
  memoryMaxBytes: number | null;
  /**
   * memory + swap together (as Docker counts); null: not limited. On v1 and v2 alike the sum stays when memoryMaxBytes alone changes, so raising
   * memoryMaxBytes above it is refused; lifting memoryMaxBytes (null) lifts the sum as well.
   */
  memorySwapMaxBytes: number | null;
  pidsMax: number | null;
}
/** Reads the limits as the kernel has them now. `cgroup` is the path below every hierarchy ("/strata/<id>"). */
export function readLimits(cgroup: string): Promise<CgroupLimits>;
/**
 * Writes the named limits, in an order that the kernel accepts (v1 memory against memsw), and takes back those already written when one is refused
 * (`code` LIMIT_REJECTED, `path` the file, or the limit's name where Strata itself refuses, `hint` why). A cgroup that is gone is ENOENT. Lowering memory below present use is refused before anything is written (EBUSY on v1; on v2 it would kill).
 */
export function writeLimits(cgroup: string, limits: Partial<CgroupLimits>): Promise<void>;

export interface CgroupFigures {
  /** CLOCK_MONOTONIC at the reading, nanoseconds. */
  atNs: number;
  cpuUsageUs: number;
  cpuUserUs: number;
  cpuSystemUs: number;
  throttledPeriods: number;
  totalPeriods: number;
  throttledUs: number;
  /** Without reclaimable page cache (Docker's reading: usage - inactive_file), and the raw usage. */
  memoryBytes: number;
  memoryUsageBytes: number;
  memoryAnonBytes: number;
  memoryFileBytes: number;
  memoryPeakBytes: number | null;
  memoryMaxBytes: number | null;
  swapBytes: number | null;
  oomKills: number;
  pids: number;
  pidsMax: number | null;
  ioReadBytes: number;
  ioWriteBytes: number;
}
/** One batch read on one worker with kept descriptors; an entry is null where that cgroup is gone. */
export class CgroupSampler {
  sample(cgroups: readonly string[]): Promise<(CgroupFigures | null)[]>;
  /** Forgets (closes) the descriptors of cgroups that are not named any more. */
  retain(cgroups: readonly string[]): void;
  close(): void;
}
/** Host pids in the cgroup and below it, ascending; [] where it is gone. */
export function cgroupProcesses(cgroup: string): Promise<number[]>;
/** SIGKILLs everything in the cgroup (cgroup.kill, else freeze + kill loop), then removes it and everything below it in every hierarchy. Gone already is success. */
export function destroyCgroup(cgroup: string, options?: { timeoutMs?: number }): Promise<void>;
/** Whether the freezer (of v1 where the host has it, else cgroup.freeze) holds the cgroup. A cgroup that is gone is ENOENT. */
export function isFrozen(cgroup: string): Promise<boolean>;
/**
 * Freezes or thaws everything in the cgroup and below, and waits until it is so. ETIMEDOUT (after a second): a process in uninterruptible sleep cannot be frozen,
 * and all is thawed again. EBUSY: a cgroup above is frozen. ENOTSUP: the host has no freezer.
 */
export function setFrozen(cgroup: string, frozen: boolean): Promise<void>;
/** Names of the direct children of `cgroup` in any hierarchy (to find leftovers at start). */
export function cgroupChildren(cgroup: string): Promise<string[]>;

// ---- layers --------------------------------------------------------------------------------------------------------------

export interface AppliedLayer {
  /** sha256 of the uncompressed tar ("sha256:…", image-spec's diffID), and of the bytes as read. */
  diffId: string;
  digest: string;
  compressedBytes: number;
  /** Sum of file sizes, and number of entries, as unpacked. */
  sizeBytes: number;
  entries: number;
}
export interface ApplyOptions {
  /** auto: by magic (gzip, zstd, xz, plain tar). */
  compression?: 'auto' | 'none' | 'gzip' | 'zstd';
  /** OCI whiteouts (.wh.*) become overlay's own form (0:0 devices, trusted.overlay.opaque). false: a rootfs tar has none, such names are kept as they are. */
  whiteouts: boolean;
  maxEntries?: number;
  maxBytes?: number;
  /** Somebody still writes to the source, at its end: it is waited for until it has so many bytes. */
  leastSourceBytes?: number;
  signal?: AbortSignalLike;
}
export interface AbortSignalLike {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void): void;
}
/**
 * Unpacks a layer tar from `source` (a path, or an fd that is read to its end and not closed) into the empty directory `destination`, in one pass
 * inflate → sha256 → untar, on three threads of its own. Owners, modes, times (ns), xattrs, hardlinks, devices, fifos, sparse files, pax and GNU names are kept; sockets are skipped.
 * Nothing lands outside `destination` (UNSAFE_PATH), and nothing grows without a measure: more than 4 GiB only up to 1100 times the source (LIMIT_REJECTED). A tar that is cut off or malformed is CORRUPT_ARCHIVE, a member of an unknown type UNSUPPORTED.
 * After a rejection what was unpacked stays: the caller removes the directory. Attributes trusted.overlay.* and user.overlay.* of an archive are stored
 * escaped (trusted.overlay.overlay.*), so that they never steer the host's mounts.
 */
export function applyLayer(source: string | number, destination: string, options: ApplyOptions): Promise<AppliedLayer>;
/** How a directory that overlay uses as a layer is read; it is never changed. */
export interface SourceOptions {
  /** A socket, which no layer holds, hides what layers below have under its name, as it did in a container's upper. Else it is left out. */
  socketsHide?: boolean;
  /** Others may write to it meanwhile; what vanishes is left out. */
  changes?: boolean;
  /** Paths ("etc/hosts") that are no part of the layer, with what is below them. */
  leftOut?: readonly string[];
  signal?: AbortSignalLike;
}
/**
 * Makes a layer of a directory that overlay uses as one (a container's upper), in the empty directory `destination`: packDirectory and applyLayer in one pass, of which
 * the digest comes along. After a rejection what was copied stays: the caller removes the directory.
 */
export function copyLayer(source: string, destination: string, options?: SourceOptions): Promise<AppliedLayer>;
/**
 * Makes one layer, in the empty directory `destination`, of what `layers` (directories, top first) show together. `overBase`: it will lie on other layers, so what hides
 * something of those is kept. After a rejection what was copied stays: the caller removes the directory.
 */
export function mergeLayers(
  layers: readonly string[],
  destination: string,
  options?: { overBase?: boolean; signal?: AbortSignalLike },
): Promise<AppliedLayer>;
export interface PackedDirectory {
  entries: number;
  /** Of the tar. */
  bytes: number;
  /** Of the files: what applyLayer says of the tar. */
  sizeBytes: number;
  /** Of the tar. */
  diffId: string;
  /** Of what was written to `fd`, the diffId where that is the tar. */
  digest: string;
  blobBytes: number;
}
/**
 * A stream that may be compressed, as it comes. `head`: its first bytes, six at least, or all; the constructor throws UNSUPPORTED for bzip2. What is not
 * compressed comes out as it is.
 */
export class Inflater {
  constructor(head: Uint8Array);
  readonly compression: 'none' | 'gzip' | 'zstd' | 'xz';
  /** Whether the input may end here. */
  readonly atEnd: boolean;
  /**
   * Takes from the start of `input` and gives 256 KiB at most; neither consumed nor put out anything: it wants more. One call at a time. Rejects with CORRUPT_ARCHIVE, or
   * with UNSUPPORTED where it wants more memory than 128 MiB (xz: 96).
   */
  run(input: Uint8Array): Promise<{ consumed: number; output: Uint8Array }>;
}
/**
 * Writes a directory as a layer's tar to `fd`, plain (the default) or with gzip; both digests are computed on the way. The form is fixed: the same tree gives the
 * same bytes, today and after it was packed and unpacked, so a layer's blob can be made again at any time. Whiteouts of overlay become .wh. names,
 * holes stay holes. Refused are another file system that is mounted below (EXDEV), what applyLayer would find too large (LIMIT_REJECTED), and what no layer
 * can hold, as a name that begins with .wh. (UNSUPPORTED). After an abort a pack that waits for the reader of a pipe ends when the pipe is read or closed.
 */
export function packDirectory(
  source: string,
  fd: number,
  options?: SourceOptions & {
    compression?: 'none' | 'gzip';
    /** Bounds of one's own, below applyLayer's: of the files' bytes without their holes. */
    maxBytes?: number;
    maxEntries?: number;
  },
): Promise<PackedDirectory>;
/** rm -rf, fd-relative (any depth), staying on one file system; absent is success. */
export function removeTree(path: string): Promise<void>;
/**
 * syncfs(2) of the file system that holds the open file: what was unpacked there outlives a power cut. What went wrong with writes since `fd` was opened, or synced here
 * last, is told (EIO, ENOSPC), so it is to be opened before them.
 */
export function syncFileSystem(fd: number): Promise<void>;
/** Bytes of regular files (each inode once) and entries below `path`. Stops after `maxEntries`: then `complete` is false, and the figures are of a part. */
export function treeUsage(
  path: string,
  options?: { maxEntries?: number },
): Promise<{ sizeBytes: number; entries: number; complete: boolean }>;

export interface LayerEntry {
  name: string;
  kind: 'file' | 'directory' | 'symlink' | 'device' | 'fifo' | 'socket' | 'whiteout';
  sizeBytes: number;
  /** st_mode & 07777 */
  mode: number;
  uid: number;
  gid: number;
  mtimeMs: number;
  linkTarget?: string;
  /** A directory that hides the same directory of the layers below. */
  opaque?: boolean;
}
/** One directory of a layer, by path in the layer ("/etc"), sorted by name; at most `limit` entries (default 10000) and whether there are more. */
export function listLayer(root: string, path: string, options?: { limit?: number }): Promise<{ entries: LayerEntry[]; truncated: boolean }>;
export function statLayer(root: string, path: string): Promise<LayerEntry>;
/** Opens a regular file of a layer read-only (never blocks on a fifo, never follows a link out of `root`); the caller owns the fd. */
export function openLayerFile(root: string, path: string): Promise<number>;
/** What a container would see. */
export interface MergedEntry extends Omit<LayerEntry, 'kind' | 'opaque'> {
  kind: Exclude<LayerEntry['kind'], 'whiteout'>;
  /** Of what a link leads to; left out where it leads nowhere. */
  linkKind?: Exclude<LayerEntry['kind'], 'whiteout'>;
}
/**
 * The same of what several layers (directories, top first) show together, by overlayfs's rules: whiteouts, opaque directories, redirects, metacopy. Links are followed as a
 * process in there would follow them, at the end of a path, too (statMerged: with `follow`); nothing leads out of a layer.
 */
export function listMerged(
  layers: readonly string[],
  path: string,
  options?: { limit?: number },
): Promise<{ entries: MergedEntry[]; truncated: boolean }>;
export function statMerged(layers: readonly string[], path: string, options?: { follow?: boolean }): Promise<MergedEntry>;
export function openMergedFile(layers: readonly string[], path: string): Promise<number>;

// ---- the index of a stack of layers ----------------------------------------------------------------------------------------

export interface IndexedLayer {
  /** The layer's root aside. */
  entries: number;
  whiteouts: number;
  opaque: number;
  /** Directories that overlay renamed, and files whose data lies below: Strata's own mounts make neither. */
  redirects: number;
  metacopies: number;
  /** Of its files, each inode once; of these what the whole stack still shows; stored, with all layers below. */
  storedBytes: number;
  seenBytes: number;
  cumulativeBytes: number;
}
/** All that is said must be so; of `paths` and `suffixes` one. */
export interface EntryQuery {
  /** Whether the stack still shows it; absent: either. */
  state?: 'seen' | 'hidden';
  kinds?: readonly ('file' | 'directory' | 'symlink' | 'other')[];
  /** "/var/lib/x": that one; ".aws/credentials": whatever ends in these names. */
  paths?: readonly string[];
  /** Ends of names. */
  suffixes?: readonly string[];
  /** One of these bits at least, and none of those. */
  modeAny?: number;
  modeNone?: number;
  /** Directories, each with the number and bytes of the files below it; `kinds`, modes and relation do not count. */
  below?: boolean;
  leastBytes?: number;
  /** Same size and time as the file of this path in the next layer below, with another mode or owner or with the same; a link to nothing. */
  relation?: 'metadataCopy' | 'identicalCopy' | 'brokenLink';
}
export interface EntryMatch {
  /** For head(). */
  entry: number;
  /** What is no UTF-8 is U+FFFD; of one with more than 4096 bytes "…" and its end. */
  path: string;
  /** Position from the top. */
  layer: number;
  kind: 'file' | 'directory' | 'symlink' | 'whiteout' | 'other';
  mode: number;
  bytes: number;
  files: number;
  seen: boolean;
  linkTarget?: string;
  /** The nearest layer above that deleted or replaced it, or a directory that it is in. */
  hiddenBy?: { layer: number; deleted: boolean };
}
/** What a stack of layers holds, path by path. The directories are read, never changed; some 100 bytes of memory an entry until it is closed. */
export class LayerIndex {
  /**
   * Walks the directories `layers` (top first), once; the others need it. LIMIT_REJECTED: more than `maxEntries` (default 4 million), or 4096 directories in each other. What vanishes meanwhile is
   * left out.
   */
  build(
    layers: readonly string[],
    options?: { maxEntries?: number; signal?: AbortSignalLike },
  ): Promise<{ layers: IndexedLayer[]; paths: number; memoryBytes: number }>;
  /** After dive's definitions (native/core/layer_efficiency.h), and the paths with most bytes that no one sees, with the layers that have the path. */
  efficiency(options?: { mostPaths?: number; signal?: AbortSignalLike }): Promise<{
    diveScore: number;
    diveWastedBytes: number;
    wastedPaths: number;
    worst: { path: string; bytes: number; layers: number[] }[];
  }>;
  /** An answer for each query: all matches counted, those with most bytes named. */
  select(
    queries: readonly EntryQuery[],
    options?: { mostMatches?: number },
  ): Promise<{ count: number; bytes: number; matches: EntryMatch[] }[]>;
  /** The first bytes of a file, 1 MiB at most. */
  head(entry: number, most: number): Promise<Uint8Array>;
  /** Whether a file holds what the file of its path in the next layer below holds: both are read. */
  isCopyOfBelow(entry: number): Promise<boolean>;
  close(): void;
}

/**
 * Tells that something below a directory has changed, by fanotify on its file system: everything from the constructor's return on. Throws UNSUPPORTED where the
 * kernel or the file system cannot say where something changed.
 */
export class DirectoryWatch {
  constructor(path: string);
  /** Once: resolves to true at the first change, to false when the watch is closed. Afterwards it tells nothing more: close it, and make another. */
  changed(): Promise<boolean>;
  close(): void;
}

// ---- host ----------------------------------------------------------------------------------------------------------------

export interface KernelFeature {
  name: string;
  available: boolean /** why it matters and what to do, when it is missing */;
  detail: string;
}
export function kernelFeatures(): Promise<KernelFeature[]>;
export const version: string;
