import './memory.ts';

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type HelperArguments, parseHelperArguments, USAGE } from './arguments.ts';
import { StatsSampler } from './cgroups/sampler.ts';
import { Adoption } from './containers/adoption.ts';
import { ArchiveRuns } from './containers/archiveRuns.ts';
import { DEFAULT_CAPABILITIES } from './containers/capabilities.ts';
import { ContainerCommits } from './containers/commits.ts';
import { ContainerFiles } from './containers/containerFiles.ts';
import { ContainerService } from './containers/containerService.ts';
import { ContainerTree } from './containers/containerTree.ts';
import { ContainerCopies } from './containers/copies.ts';
import { ContainerDrafts } from './containers/drafts.ts';
import { ContainerEndings } from './containers/endings.ts';
import { ContainerExecs } from './containers/execs.ts';
import { ExitRecords } from './containers/exitRecords.ts';
import { FileWatches } from './containers/fileWatches.ts';
import { ContainerHealth } from './containers/health.ts';
import { ContainerInspection } from './containers/inspection.ts';
import { Launcher } from './containers/launcher.ts';
import { LiveLimits } from './containers/liveLimits.ts';
import { ContainerPauses } from './containers/pauses.ts';
import { readBootTime } from './containers/processes.ts';
import { ContainerRegistry } from './containers/registry.ts';
import { RestartOrders } from './containers/restartOrders.ts';
import { ContainerRestarts } from './containers/restarts.ts';
import { SandboxFactory } from './containers/sandboxes.ts';
import { SandboxPool } from './containers/sandboxPool.ts';
import { SeccompPrograms } from './containers/seccomp.ts';
import { ContainerStarts } from './containers/starts.ts';
import { ContainerStops } from './containers/stops.ts';
import { ContainerStreams } from './containers/streams.ts';
import { within } from './containers/waiting.ts';
import { EventFeed } from './events/feed.ts';
import { EventHistory } from './events/history.ts';
import { EventHub } from './events/hub.ts';
import { MissedEvents } from './events/missed.ts';
import { HostService, readHostFacts } from './host/hostService.ts';
import { ImageLoads } from './images/archives/imageLoads.ts';
import { ImageSaves } from './images/archives/imageSaves.ts';
import { ImageBootstraps } from './images/bootstraps.ts';
import { ContentStore } from './images/contentStore.ts';
import { importEmbeddedImages } from './images/embedded.ts';
import { ImageContents } from './images/imageContent.ts';
import { ImageService } from './images/imageService.ts';
import { ImageStore } from './images/imageStore.ts';
import { ImageImports } from './images/imports.ts';
import { LayerBlobs } from './images/layerBlobs.ts';
import { LayerStore } from './images/layerStore.ts';
import { ImagePulls } from './images/pulls.ts';
import { ImagePushes } from './images/pushes.ts';
import { RegistrySettings } from './images/registry/registrySettings.ts';
import { ImageSquashes } from './images/squashes.ts';
import { DiskUsageService } from './layers/diskUsage.ts';
import { LayerChecks } from './layers/layerChecks.ts';
import { LayerService } from './layers/layerService.ts';
import { UsageCounter } from './layers/usageCounter.ts';
import { ViewService } from './layers/viewService.ts';
import { createLogger, type Logger } from './log.ts';
import { loadAddon } from './native/addon.ts';
import { type ContainerId, type Digest, StrataError } from './protocol/index.ts';
import { Dispatcher } from './server/dispatch.ts';
import { createHandlers } from './server/handlers.ts';
import { Listener } from './server/listener.ts';
import { ACCESS_GROUP, type AccessRules, lookUpGroup, peerOf, roleOf, userName } from './server/peer.ts';
import { Session } from './server/session.ts';
import { Layout } from './store/layout.ts';
import { KeyedMutex } from './store/mutex.ts';
import { RootLock } from './store/rootLock.ts';
import { VERSION } from './version.ts';
import { Connection } from './wire/connection.ts';

/** dist/, from the source (helper/) and from the bundle (dist/) alike. */
const productDir = join(import.meta.dirname, '..', 'dist');

const historyEndMs = 2000;

interface Helper {
  close(): Promise<void>;
}

async function startHelper(args: HelperArguments, log: Logger): Promise<Helper> {
  const addon = loadAddon(args.addon);
  const layout = new Layout(args.root, args.run);
  mkdirSync(args.root, { recursive: true, mode: 0o700 });
  mkdirSync(args.run, { recursive: true, mode: 0o755 });
  const locks = [new RootLock(args.root, '--root'), new RootLock(args.run, '--run')];
  const facts = await readHostFacts(addon);
  const access: AccessRules = { ownerUid: args.ownerUid, groupGid: lookUpGroup(ACCESS_GROUP) };
  const warnings = accessWarnings(access);
  for (const warning of warnings) log.warn(warning);

  const history = await EventHistory.open({ directory: layout.events, log });
  const hub = new EventHub({ epoch: randomBytes(8).toString('hex'), seq: history.lastSeq });
  hub.onRecord((record) => history.append(record));
  hub.note({ type: 'helper', id: hub.epoch, name: 'stratad' }, 'start', { version: VERSION });
  const registry = new ContainerRegistry();
  const users = registry.usersOf.bind(registry);
  const content = new ContentStore(layout);
  const layers = new LayerStore({ layout, addon, content, log });
  const images = new ImageStore({ layout, content, layers, hub, log });
  const imageService = new ImageService({ layout, addon, content, layers, store: images, users, log });
  const loads = new ImageLoads({ layout, addon, layers, service: imageService, log });
  const imports = new ImageImports({ layout, addon, layers, service: imageService, loads });
  const contents = new ImageContents({
    content,
    layers,
    store: images,
    service: imageService,
    blobs: new LayerBlobs({ layout, addon, content, layers }),
  });
  const saves = new ImageSaves({ store: images, contents, log });
  const settings = new RegistrySettings(args.registries);
  const pulls = new ImagePulls({ layout, settings, content, layers, service: imageService, log });
  const pushes = new ImagePushes({ settings, contents, store: images, service: imageService, hub, log });

  const files = new ContainerFiles({ layout, addon, log, resolvConf: facts.resolvConf });
  const factory = new SandboxFactory({ addon, runtime: args.runtime, cgroupParent: args.cgroupParent, files, trace: args.trace, log });
  const pool = new SandboxPool({ factory, files, size: args.warm, log });
  const seccomp = new SeccompPrograms({ directory: layout.seccompPrograms, addon, runtime: args.runtime });
  const sampler = new StatsSampler({ addon, running: () => registry.running(), log });
  const exits = new ExitRecords({ files, log });
  const health = new ContainerHealth({ files, hub, log });
  const launcher = new Launcher({
    layers,
    addon,
    files,
    exits,
    factory,
    pool,
    seccomp,
    hub,
    log,
    bootId: facts.bootId,
    onRunning: (container) => {
      sampler.wake();
      health.begin(container);
    },
  });
  const live = new LiveLimits({ addon, sampler, log });
  const pauses = new ContainerPauses({ addon, hub });
  const restarts = new ContainerRestarts({ hub, log });
  const endings = new ContainerEndings({ factory, launcher, pauses, hub, log });
  const turns = new KeyedMutex<ContainerId>();
  const drafts = new ContainerDrafts({ files, registry, images, factory, host: facts.capacity, log });
  const runs = new ArchiveRuns({ turns, registry, drafts, endings, layers, layout, runtime: args.runtime, log });
  const copies = new ContainerCopies({ runs, registry, hub });
  const fileWatches = new FileWatches({ addon, registry, hub, log });
  const stops = new ContainerStops({ turns, files, endings, pauses, restarts, hub, log });
  const orders = new RestartOrders({ files, stops, hub, log, bootId: facts.bootId });
  const commits = new ContainerCommits({ turns, registry, drafts, endings, runs, pauses, layers, images: imageService });
  const containers = new ContainerService({
    turns,
    files,
    registry,
    drafts,
    endings,
    runs,
    starts: new ContainerStarts({ files, exits, factory, launcher, endings, log }),
    pool,
    launcher,
    live,
    pauses,
    stops,
    restarts,
    orders,
    hub,
    log,
  });
  const streams = new ContainerStreams({ registry, hub, log });
  const execs = new ContainerExecs({ registry, launcher, hub, log });
  const inspection = new ContainerInspection({ registry, addon, cgroupHost: facts.cgroup });

  await imageService.open();
  await pulls.open();
  const missed = new MissedEvents({ hub, history });
  const { bootTimeMs } = await readBootTime();
  await new Adoption({
    layout,
    addon,
    files,
    exits,
    factory,
    pool,
    launcher,
    service: containers,
    execs,
    health,
    pauses,
    restarts,
    orders,
    live,
    missed,
    bootTimeMs,
    log,
  }).adoptAll();
  missed.finish(
    { containers: containers.list(true), images: images.list() },
    {
      container: (id) => existsSync(layout.container(id).state),
      image: (id) => images.damaged().some((damaged) => damaged === id),
    },
  );
  await importEmbeddedImages(args.images, { imports, service: imageService, store: images, users, log });
  pool.refill();
  // So that the first container does not wait for it. What is wrong with it, that container says.
  seccomp
    .program([...DEFAULT_CAPABILITIES].sort())
    .catch((error: unknown) => log.error({ err: error }, 'cannot compile the seccomp profile'));

  const paths = { root: args.root, run: args.run, socket: args.socket };
  const host = new HostService({
    addon,
    runtime: args.runtime,
    facts,
    paths,
    version: VERSION,
    warnings: () => [...warnings, ...images.damaged().map(damagedWarning)],
  });
  const counter = new UsageCounter(addon);
  const layerService = new LayerService({ addon, registry, images, layers, counter });
  const tree = new ContainerTree(runs);
  const diskUsage = new DiskUsageService({ content, images, layers, registry, counter });
  const handlers = createHandlers({
    version: VERSION,
    log,
    hub,
    feed: new EventFeed({ hub, history }),
    host,
    diskUsage,
    registry,
    containers,
    commits,
    copies,
    fileWatches,
    streams,
    execs,
    inspection,
    sampler,
    images,
    imageService,
    imports,
    squashes: new ImageSquashes({ store: images, layers, service: imageService }),
    contents,
    pulls,
    loads,
    saves,
    bootstraps: new ImageBootstraps({ layout, addon, imports, log }),
    pushes,
    layers: layerService,
    views: new ViewService({ addon, registry, images, layers, runs, tree }),
    tree,
    checks: new LayerChecks({ addon, registry, images, imageService, layers: layerService, log }),
  });
  const dispatcher = new Dispatcher(handlers, log);
  const listener = new Listener({
    path: args.socket,
    log,
    onConnection: (webSocket, socket) => {
      const peer = peerOf(socket, addon);
      const connection = new Connection(webSocket, {
        allocatesStreams: true,
        onEventTooLarge: (event) => log.error({ event }, 'an event is larger than a message may be and was left out'),
      });
      void new Session({ role: roleOf(peer, access), user: userName(peer.uid), connection, hub, log }).serve(dispatcher);
    },
  });
  await listener.listen(access);
  return {
    close: async () => {
      launcher.close();
      restarts.close();
      health.close();
      await listener.close();
      sampler.close();
      fileWatches.close();
      await runs.close();
      await pool.close();
      await layers.close();
      // A disk that hangs must not keep the helper from its end.
      await within(history.close(), historyEndMs);
      for (const lock of locks) lock.release();
    },
  };
}

function damagedWarning(id: Digest): string {
  return `the image ${id} cannot be read: import it again, or remove it by this id`;
}

function accessWarnings(access: AccessRules): string[] {
  if (access.groupGid !== undefined) return [];
  return [
    `there is no group "${ACCESS_GROUP}": only ${access.ownerUid === undefined ? 'root' : `root and uid ${access.ownerUid}`} can connect. "groupadd --system ${ACCESS_GROUP}" and a restart of the helper change that.`,
  ];
}

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help')) {
    process.stdout.write(USAGE);
    return;
  }
  if (argv.includes('--version')) {
    process.stdout.write(`stratad ${VERSION}\n`);
    return;
  }
  const args = parseHelperArguments(argv, productDir);
  if (process.getuid?.() !== 0) {
    throw new StrataError('PERMISSION_DENIED', 'stratad makes containers and must run as root', { hint: 'Start it with sudo.' });
  }
  const log = createLogger(args.logLevel);
  // A promise that nobody watches is a fault, but none that other containers' clients shall feel.
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unexpected error that nobody handled'));
  const helper = await startHelper(args, log);
  const stop = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.resolve(signal)); // again and again: a second one must not cut the end short
  // Who started it may have gone by now; that is no reason to end.
  process.stdout.on('error', () => {});
  process.stdout.write(`stratad ready on ${args.socket}\n`);
  log.info({ socket: args.socket, version: VERSION }, 'ready');
  const signal = await stop.promise;
  log.info({ signal }, 'ending; containers go on');
  await helper.close();
}

main(process.argv.slice(2)).then(
  // Connections to supervisors hold the process open; everything that must be closed is.
  () => process.exit(0),
  (error: unknown) => {
    const known = error instanceof StrataError;
    process.stderr.write(
      known
        ? `stratad: ${error.message}\n${error.hint}\n`
        : `stratad: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(1);
  },
);
