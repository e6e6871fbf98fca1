import type { ImageLoads } from '../images/archives/imageLoads.ts';
import type { ImageSaves } from '../images/archives/imageSaves.ts';
import type { ImageBootstraps } from '../images/bootstraps.ts';
import type { Handlers } from './dispatch.ts';
import { reportingLayers } from './layerReports.ts';
import type { Session } from './session.ts';
import { withUpload } from './upload.ts';

export type ImageArchiveMethod = 'image.load' | 'image.save' | 'image.bootstrap';

export function imageArchiveHandlers({
  loads,
  saves,
  bootstraps,
}: {
  readonly loads: ImageLoads;
  readonly saves: ImageSaves;
  readonly bootstraps: ImageBootstraps;
}): Pick<Handlers<Session>, ImageArchiveMethod> {
  return {
    'image.load': async ({ source, image, platform, progress }, session, signal) =>
      await reportingLayers(session, progress, async (onProgress) => {
        const options = { image, platform, signal, onProgress };
        if (source.kind === 'directory') return { images: await loads.directory(source.path, options) };
        return { images: await withUpload(session.connection.stream(source.stream), signal, (bytes) => loads.stream(bytes, options)) };
      }),
    'image.bootstrap': async ({ progress, ...request }, session, signal) => {
      const onLine = (line: string): void => {
        if (progress !== undefined) session.connection.notify('image.bootstrapping', { progress, line });
      };
      return { image: await bootstraps.make(request, { signal, onLine }) };
    },
    'image.save': ({ images, format }, session, signal) =>
      session.withStream(signal, (stream) => saves.save(images, format ?? 'docker-archive', stream)),
  };
}
