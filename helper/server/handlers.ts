import type { StatsSampler } from '../cgroups/sampler.ts';
import type { ContainerCommits } from '../containers/commits.ts';
import type { ContainerService } from '../containers/containerService.ts';
import type { ContainerTree } from '../containers/containerTree.ts';
import type { ContainerCopies } from '../containers/copies.ts';
import type { ContainerExecs } from '../containers/execs.ts';
import type { FileWatches } from '../containers/fileWatches.ts';
import type { ContainerInspection } from '../containers/inspection.ts';
import type { ContainerRegistry } from '../containers/registry.ts';
import type { ContainerStreams } from '../containers/streams.ts';
import type { EventFeed } from '../events/feed.ts';
import type { EventHub } from '../events/hub.ts';
import type { HostService } from '../host/hostService.ts';
import type { ImageLoads } from '../images/archives/imageLoads.ts';
import type { ImageSaves } from '../images/archives/imageSaves.ts';
import type { ImageBootstraps } from '../images/bootstraps.ts';
import type { ImageContents } from '../images/imageContent.ts';
import type { ImageService } from '../images/imageService.ts';
import type { ImageStore } from '../images/imageStore.ts';
import type { ImageImports } from '../images/imports.ts';
import type { ImagePulls } from '../images/pulls.ts';
import type { ImagePushes } from '../images/pushes.ts';
import type { ImageSquashes } from '../images/squashes.ts';
import type { DiskUsageService } from '../layers/diskUsage.ts';
import type { LayerChecks } from '../layers/layerChecks.ts';
import type { LayerService } from '../layers/layerService.ts';
import type { ViewService } from '../layers/viewService.ts';
import type { Logger } from '../log.ts';
import { type MethodResult, type Params, PROTOCOL_VERSION, StrataError } from '../protocol/index.ts';
import type { Handlers } from './dispatch.ts';
import { sendEvents } from './eventStream.ts';
import { type ImageArchiveMethod, imageArchiveHandlers } from './imageArchiveHandlers.ts';
import { reportingLayers } from './layerReports.ts';
import type { Session } from './session.ts';
import { withUpload } from './upload.ts';

/** What the methods act on. */
export interface Services {
  readonly version: string;
  readonly log: Logger;
  readonly hub: EventHub;
  readonly feed: EventFeed;
  readonly host: HostService;
  readonly diskUsage: DiskUsageService;
  readonly registry: ContainerRegistry;
  readonly containers: ContainerService;
  readonly copies: ContainerCopies;
  readonly fileWatches: FileWatches;
  readonly commits: ContainerCommits;
  readonly streams: ContainerStreams;
  readonly execs: ContainerExecs;
  readonly inspection: ContainerInspection;
  readonly sampler: StatsSampler;
  readonly images: ImageStore;
  readonly imageService: ImageService;
  readonly imports: ImageImports;
  readonly contents: ImageContents;
  readonly squashes: ImageSquashes;
  readonly pulls: ImagePulls;
  readonly loads: ImageLoads;
  readonly saves: ImageSaves;
  readonly bootstraps: ImageBootstraps;
  readonly pushes: ImagePushes;
  readonly layers: LayerService;
  readonly views: ViewService;
  readonly tree: ContainerTree;
  readonly checks: LayerChecks;
}

const defaultStatsIntervalMs = 1000;

/** Every method of the protocol, each as thin as it can be. */
export function createHandlers(services: Services): Handlers<Session> {
  return {
    ...hostHandlers(services),
    ...eventHandlers(services),
    ...containerHandlers(services),
    ...streamHandlers(services),
    ...execHandlers(services),
    ...copyHandlers(services),
    ...statsHandlers(services),
    ...imageHandlers(services),
    ...imageArchiveHandlers(services),
    ...layerHandlers(services),
    ...viewHandlers(services),
    ...fileHandlers(services),
  };
}

type Part<Prefix extends string> = Pick<Handlers<Session>, Extract<keyof Handlers<Session>, `${Prefix}.${string}`>>;
type CopyMethod = Extract<keyof Handlers<Session>, `container.archive.${string}` | 'container.export' | `container.diff${string}`>;
type StreamMethod = 'container.start' | 'container.run' | 'container.logs' | 'container.attach';

function hostHandlers({ version, host, diskUsage }: Services): Pick<Handlers<Session>, 'hello'> & Part<'host'> {
  return {
    hello: (params, session) => hello(params, session, version),
    'host.info': () => host.info(),
    'host.diskUsage': () => diskUsage.read(),
  };
}

function eventHandlers({ hub, feed, containers, images, log }: Services): Part<'events'> {
  return {
    'events.subscribe': (_, session) => {
      session.subscribe();
      return { ...hub.position, containers: containers.list(true), images: images.list() };
    },
    'events.resume': (position, session) => {
      session.resume(position);
      return { seq: hub.seq };
    },
    'events.stream': (request, session, signal) =>
      session.withStream(signal, (stream) => {
        const { at, lines } = feed.open({ ...request, signal: stream.signal });
        void sendEvents(stream, lines, log);
        return Promise.resolve({ at });
      }),
  };
}

function hello(params: Params<'hello'>, session: Session, version: string): MethodResult<'hello'> {
  const { major } = PROTOCOL_VERSION;
  if (params.protocol.major !== major) {
    throw new StrataError(
      'PROTOCOL_MISMATCH',
      `this helper speaks protocol ${major}, ${params.client.name} speaks ${params.protocol.major}`,
      {
        hint: params.protocol.major > major ? 'Update the helper.' : `Update ${params.client.name}.`,
        details: { helper: major, client: params.protocol.major },
      },
    );
  }
  session.greeted = true;
  return { protocol: { ...PROTOCOL_VERSION }, helperVersion: version, role: session.role, capabilities: [] };
}

function containerHandlers({
  commits,
  containers,
  inspection,
  streams,
}: Services): Omit<Part<'container'>, StreamMethod | CopyMethod | 'container.exec'> {
  return {
    'container.list': ({ all }) => ({ containers: containers.list(all) }),
    'container.inspect': ({ container }) => inspection.details(container),
    'container.create': ({ options }) => containers.create(options),
    'container.stop': async ({ container, signal, graceMs }, { user }, abort) => ({
      exit: await containers.stop(container, { user, signal, graceMs, abort }),
    }),
    'container.restart': async ({ container, signal, graceMs }, { user }) => ({
      pid: await containers.restart(container, { user, signal, graceMs }),
    }),
    'container.pause': async ({ container }) => {
      await containers.pause(container);
      return {};
    },
    'container.resume': async ({ container }) => {
      await containers.resume(container);
      return {};
    },
    'container.kill': async ({ container, signal }, { user }) => {
      await containers.kill(container, signal, user);
      return {};
    },
    'container.remove': async ({ container, force }, { user }) => ({ id: await containers.remove(container, force ?? false, user) }),
    'container.rename': async ({ container, name }) => {
      await containers.rename(container, name);
      return {};
    },
    'container.commit': async ({ container, pause, created, ...request }, _, signal) => ({
      image: await commits.commit(
        container,
        {
          reference: request.reference,
          changes: request.changes ?? [],
          author: request.author,
          message: request.message,
          created: created ?? new Date().toISOString(),
          pause: pause ?? true,
        },
        signal,
      ),
    }),
    'container.wait': async ({ container }, _, signal) => ({ exit: await containers.wait(container, signal) }),
    'container.resize': async ({ container, exec, stream, size }, session) => {
      await streams.resize(container, size, { exec, stream: stream === undefined ? undefined : session.connection.stream(stream) });
      return {};
    },
    'container.update': ({ container, limits, restartPolicy }) => containers.update(container, limits, restartPolicy),
    'container.processes': ({ container }) => inspection.processes(container),
  };
}

function streamHandlers({ containers, registry, streams }: Services): Pick<Handlers<Session>, StreamMethod> {
  return {
    'container.start': async ({ container, attach, stdin, size }, session, signal) => {
      const { id } = registry.find(container);
      if (attach !== true) return { pid: await containers.start(container, { signal }) };
      return await session.withStream(signal, async (stream) => {
        const pid = await containers.start(container, { attachment: { stream, stdin, size }, signal });
        session.watch(id);
        return { pid };
      });
    },
    'container.run': async ({ options, attach, size }, session, signal) => {
      if (attach !== true) {
        const started = await containers.run(options, { signal });
        session.watch(started.id);
        return started;
      }
      return await session.withStream(signal, async (stream) => {
        const started = await containers.run(options, { attachment: { stream, size }, signal });
        session.watch(started.id);
        return started;
      });
    },
    'container.logs': async (params, session, signal) => {
      const tty = streams.isTty(params.container);
      return await session.withStream(signal, async (stream) => {
        const { from, first } = await streams.logs(params, stream);
        return { tty, from, first };
      });
    },
    'container.attach': async ({ container, stdin, size }, session, signal) => {
      const tty = streams.isTty(container);
      return await session.withStream(signal, async (stream) => {
        await streams.attach(container, { stream, stdin, size });
        return { tty };
      });
    },
  };
}

function execHandlers({ registry, execs }: Services): Pick<Handlers<Session>, 'container.exec'> & Part<'exec'> {
  return {
    'container.exec': async (params, session, signal) => {
      const { id } = registry.find(params.container);
      if (params.detach === true) return await execs.runDetached(params, signal);
      return await session.withStream(signal, (stream) =>
        execs.run(params, stream, (exec, end) => session.connection.notify('exec.exited', { container: id, exec, ...end })),
      );
    },
    'exec.list': ({ container }) => ({ sessions: execs.list(container) }),
    'exec.kill': async ({ session, signal }) => ({ exec: await execs.kill(session, signal) }),
  };
}

function copyHandlers({ copies, fileWatches }: Services): Pick<Handlers<Session>, CopyMethod> {
  return {
    'container.archive.stat': async ({ container, path, follow }, _, signal) => ({
      stat: await copies.stat(container, { path, follow: follow ?? false }, signal),
    }),
    'container.archive.get': ({ container, path, follow }, session, signal) =>
      session.withStream(signal, async (stream) => ({
        stat: await copies.get(container, { path, follow: follow ?? false }, stream, signal),
      })),
    'container.archive.put': ({ container, path, stream, keepOwners }, session, signal) =>
      withUpload(session.connection.stream(stream), signal, (source) =>
        copies.put(container, { path, keepOwners: keepOwners ?? false, source }, signal),
      ),
    'container.export': ({ container }, session, signal) =>
      session.withStream(signal, async (stream) => {
        await copies.export(container, stream, signal);
        return {};
      }),
    'container.diff': ({ container, details }, session, signal) =>
      session.withStream(signal, async (stream) => {
        await copies.changes(container, details ?? false, stream, signal);
        return {};
      }),
    'container.diff.export': ({ container }, session, signal) =>
      session.withStream(signal, async (stream) => {
        await copies.exportChanges(container, stream, signal);
        return {};
      }),
    'container.diff.watch': ({ container }, session, signal) =>
      session.withStream(signal, (stream) => {
        fileWatches.watch(container, stream);
        return Promise.resolve({});
      }),
  };
}

function statsHandlers({ registry, sampler }: Services): Part<'stats'> {
  return {
    'stats.subscribe': ({ intervalMs }, session) => {
      session.setStats(sampler.subscribe(intervalMs ?? defaultStatsIntervalMs, (samples) => session.sendStats(samples)));
      return {};
    },
    'stats.unsubscribe': (_, session) => {
      session.setStats(undefined);
      return {};
    },
    'stats.read': async ({ containers }) => {
      const wanted = containers === undefined ? registry.running() : containers.map((reference) => registry.find(reference));
      return { samples: await sampler.readOnce(wanted) };
    },
  };
}

function imageHandlers({ images, imageService, imports, pulls, pushes, squashes }: Services): Omit<Part<'image'>, ImageArchiveMethod> {
  return {
    'image.list': () => ({ images: images.list() }),
    'image.inspect': ({ image }) => images.details(images.resolve(image).image.id),
    'image.history': ({ image }) => ({ entries: images.history(images.resolve(image).image.id) }),
    'image.tag': async ({ image, reference }) => ({ image: await imageService.tag(image, reference) }),
    'image.squash': async ({ image, reference, keep, message, created }, _, signal) => ({
      image: await squashes.squash(image, { reference, keep: keep ?? 0, message, created: created ?? new Date().toISOString() }, signal),
    }),
    'image.prune': ({ all, untilMs, labels, dryRun }) =>
      imageService.prune({ all: all ?? false, untilMs, labels: labels ?? [], dryRun: dryRun ?? false }),
    'image.openUpload': (_, session) => ({ stream: session.connection.openStream().id }),
    'image.import': async ({ source, reference, command }, session, signal) => {
      const options = { reference, command, signal };
      switch (source.kind) {
        case 'stream':
          return {
            image: await withUpload(session.connection.stream(source.stream), signal, (bytes) => imports.stream(bytes, options)),
          };
        case 'directory':
          return { image: await imports.directory(source.path, options) };
        case 'ociLayout':
          return { image: await imports.ociLayout(source.path, source.name, options) };
      }
    },
    'image.pull': async ({ reference, platform, credentials, progress }, session, signal) =>
      await reportingLayers(session, progress, async (onProgress) => ({
        image: await pulls.pull(reference, { platform, credentials, signal, onProgress }),
      })),
    'image.push': async ({ reference, credentials, progress }, session, signal) =>
      await reportingLayers(session, progress, async (onProgress) => await pushes.push(reference, { credentials, signal, onProgress })),
    'image.remove': ({ image, force }) => imageService.remove(image, force ?? false),
  };
}

function layerHandlers({ layers, checks }: Services): Part<'layer'> {
  return {
    'layer.stack': async (params) => ({ layers: await layers.stack(params) }),
    'layer.check': (params, _, signal) => checks.check(params, signal),
    'layer.list': ({ layer, path }) => layers.list(layer, path),
    'layer.stat': async ({ layer, path }) => ({ entry: await layers.stat(layer, path) }),
    'layer.read': ({ layer, path }, session, signal) =>
      session.withStream(signal, async (stream) => {
        const file = await layers.open(layer, path);
        file.send(stream);
        return { sizeBytes: file.sizeBytes };
      }),
  };
}

function viewHandlers({ views }: Services): Part<'view'> {
  return {
    'view.list': async ({ view, path }, _, signal) => await views.list(view, path, signal),
    'view.stat': async ({ view, path, follow }, _, signal) => ({
      entry: await views.stat(view, { path, follow: follow ?? false }, signal),
    }),
    'view.read': ({ view, path }, session, signal) =>
      session.withStream(signal, async (stream) => await views.read(view, path, stream, signal)),
  };
}

function fileHandlers({ registry, tree }: Services): Part<'file'> {
  return {
    'file.write': ({ container, stream, create, replace, ...file }, session, signal) =>
      withUpload(session.connection.stream(stream), signal, async (source) => {
        await tree.write(registry.find(container), { ...file, create: create ?? false, replace: replace ?? false, source }, signal);
        return {};
      }),
    'file.makeDirectory': async ({ container, path }, _, signal) => {
      await tree.makeDirectory(registry.find(container), path, signal);
      return {};
    },
    'file.remove': async ({ container, path, recursive }, _, signal) => {
      await tree.remove(registry.find(container), { path, recursive: recursive ?? false }, signal);
      return {};
    },
    'file.rename': async ({ container, path, to, replace }, _, signal) => {
      await tree.rename(registry.find(container), { path, to, replace: replace ?? false }, signal);
      return {};
    },
  };
}
