import { join } from 'node:path';

/** Where everything lies below the two directories of a helper: `root` outlives a reboot, `run` does not. */
export class Layout {
  readonly root: string;
  readonly run: string;

  constructor(root: string, run: string) {
    this.root = root;
    this.run = run;
  }

  get blobs(): string {
    return join(this.root, 'blobs', 'sha256');
  }
  get layers(): string {
    return join(this.root, 'layers');
  }
  get packedLayers(): string {
    return join(this.root, 'packed');
  }
  get images(): string {
    return join(this.root, 'images');
  }
  get events(): string {
    return join(this.root, 'events');
  }
  get containers(): string {
    return join(this.root, 'containers');
  }
  /** Whatever is under way; emptied at start. On the file system of what it becomes, so that a rename is all it takes. */
  get temporary(): string {
    return join(this.root, 'tmp');
  }
  /** Blobs that pulls have begun to download; a later pull goes on with them. */
  get partialBlobs(): string {
    return join(this.root, 'partial');
  }
  get runContainers(): string {
    return join(this.run, 'containers');
  }
  /** Where copies attach layers that they need a path for, each in a mount namespace of its own. */
  get copyPlace(): string {
    return join(this.run, 'copy');
  }
  get seccompPrograms(): string {
    return join(this.run, 'seccomp');
  }

  blob(digest: string): string {
    return join(this.blobs, hexOf(digest));
  }
  layer(chainId: string): string {
    return join(this.layers, hexOf(chainId));
  }
  layerDiff(chainId: string): string {
    return join(this.layer(chainId), 'diff');
  }
  image(id: string): string {
    return join(this.images, `${hexOf(id)}.json`);
  }
  container(id: string): ContainerPaths {
    return containerPaths(`${this.containers}/${id}`, `${this.runContainers}/${id}`);
  }
}

export interface ContainerPaths {
  readonly state: string;
  readonly record: string;
  readonly exit: string;
  /** How the run before ended, while nobody knows yet whether the next one comes to be. */
  readonly earlierExit: string;
  readonly log: string;
  /** What is remembered of its restarts; absent: nothing. */
  readonly restarts: string;
  /** Somebody wants it stopped and started, and that is not done yet. */
  readonly restartOrder: string;
  readonly upper: string;
  readonly work: string;
  readonly init: string;
  readonly run: string;
  readonly socket: string;
  /** Which process the supervisor is, by its own words. */
  readonly supervisor: string;
  /** When and as which process it was started: true in this boot only. */
  readonly started: string;
  /** What its health checks have found. */
  readonly health: string;
  /** There while it stands still for the sake of a request, and goes on after it. */
  readonly held: string;
  /** In the place of `exit` where that could not be written. */
  readonly runExit: string;
}

/** Put together and not joined: a helper that takes over a thousand containers asks for thousands of them. */
function containerPaths(state: string, run: string): ContainerPaths {
  return {
    state,
    record: `${state}/config.json`,
    exit: `${state}/exit.json`,
    earlierExit: `${state}/exit.prev.json`,
    log: `${state}/log`,
    restarts: `${state}/restarts.json`,
    restartOrder: `${state}/restart.json`,
    upper: `${state}/upper`,
    work: `${state}/work`,
    init: `${state}/init`,
    run,
    socket: `${run}/control.sock`,
    supervisor: `${run}/state.json`,
    started: `${run}/started.json`,
    health: `${run}/health.json`,
    held: `${run}/held`,
    runExit: `${run}/exit.json`,
  };
}

export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}
