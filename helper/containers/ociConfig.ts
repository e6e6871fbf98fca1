/** runtime-spec 1.2, the parts that Strata writes (native/runtime reads the same). */
export interface OciConfig {
  readonly ociVersion: '1.2.0';
  readonly process: OciProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: OciLinux;
}

export interface OciProcess {
  readonly terminal: boolean;
  /** `username` is `name|uid[:name|gid]`, looked up in the container (docs/supervisor.md). */
  readonly user: { readonly uid: number; readonly gid: number; readonly username?: string };
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: {
    readonly bounding: readonly string[];
    readonly effective: readonly string[];
    readonly permitted: readonly string[];
  };
  readonly noNewPrivileges: boolean;
}

export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface OciIdMap {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export interface OciResources {
  readonly devices: readonly {
    readonly allow: boolean;
    readonly type?: string;
    readonly major?: number;
    readonly minor?: number;
    readonly access: string;
  }[];
  readonly cpu?: {
    readonly shares?: number;
    readonly quota?: number;
    readonly period?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly memory?: { readonly limit?: number; readonly swap?: number };
  readonly pids?: { readonly limit: number };
}

export interface OciLinux {
  readonly namespaces: readonly { readonly type: NamespaceType }[];
  readonly uidMappings?: readonly OciIdMap[];
  readonly gidMappings?: readonly OciIdMap[];
  readonly timeOffsets?: Readonly<Record<'monotonic' | 'boottime', { readonly secs: number; readonly nanosecs: number }>>;
  readonly cgroupsPath: string;
  readonly resources: OciResources;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
}

export const DEFAULT_NAMESPACES = ['mount', 'pid', 'network', 'uts', 'ipc', 'cgroup'] as const;
export type NamespaceType = (typeof DEFAULT_NAMESPACES)[number] | 'user' | 'time';
