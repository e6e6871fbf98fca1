import type { ImageLoads } from '../images/archives/imageLoads.ts';
import type { Handlers } from './dispatch.ts';
import { PullReports } from './pullReports.ts';
import type { Session } from './session.ts';
import { withUpload } from './upload.ts';

export type ImageArchiveMethod = 'image.load';

export function imageArchiveHandlers({ loads }: { readonly loads: ImageLoads }): Pick<Handlers<Session>, ImageArchiveMethod> {
  return {
    'image.load': async ({ source, image, platform, progress }, session, signal) => {
      const reports = new PullReports((layers) => {
        if (progress !== undefined) session.connection.notify('image.pulling', { progress, layers });
      });
      const options = { image, platform, signal, onProgress: reports.tell.bind(reports) };
      try {
        if (source.kind === 'directory') return { images: await loads.directory(source.path, options) };
        return { images: await withUpload(session.connection.stream(source.stream), signal, (bytes) => loads.stream(bytes, options)) };
      } finally {
        reports.close();
      }
    },
  };
}
