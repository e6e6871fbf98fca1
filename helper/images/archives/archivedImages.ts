import { type Digest, type ImageConfig, StrataError } from '../../protocol/index.ts';
import { digestOf } from '../contentStore.ts';
import { plain } from '../imageText.ts';
import type { Platform } from '../manifest.ts';
import { platformText } from '../platforms.ts';
import { type ArchivedImage, type Choice, isMeant, titleOf } from './archivedImage.ts';
import { isDockerArchive, readDockerImages, readRepoTags } from './dockerImages.ts';
import { invalid, type LayoutFiles } from './layoutFiles.ts';
import { isOciLayout, readOciImages } from './ociImages.ts';

/** What of a layout or archive is wanted: at least one image, each of them verified up to its layers. */
export async function findImages(files: LayoutFiles, choice: Choice): Promise<ArchivedImage[]> {
  const images = await readImages(files, choice);
  if (images.length === 0) throw invalid(files, 'there is none in it');
  const { image, platform } = choice;
  const meant = image === undefined ? images : images.filter((one) => isMeant(image, one.references, digestsOf(one)));
  if (meant.length === 0) {
    const known = images.map(titleOf).join(', ');
    throw new StrataError('IMAGE_NOT_FOUND', `${files.title} has no image "${plain(image ?? '')}"`, { hint: `It has ${plain(known)}.` });
  }
  const wrong = platform === undefined ? undefined : meant.find(({ config }) => !isFor(config, platform));
  if (platform !== undefined && wrong !== undefined) {
    throw new StrataError('IMAGE_NOT_FOUND', `the image ${titleOf(wrong)} of ${files.title} is not made for ${platformText(platform)}`, {
      hint: `It is made for ${plain(platformText(wrong.config))}.`,
    });
  }
  return meant;
}

/** What docker writes since version 25 is both: then the layout counts, whose manifests and layers are the registry's own. */
async function readImages(files: LayoutFiles, choice: Choice): Promise<ArchivedImage[]> {
  const isDocker = await isDockerArchive(files);
  if (await isOciLayout(files)) {
    const images = await readOciImages(files, choice, isDocker ? await readRepoTags(files) : new Map<Digest, string[]>());
    return images.length === 0 && isDocker ? await readDockerImages(files) : images;
  }
  if (isDocker) return await readDockerImages(files);
  if ((await files.find('repositories')) !== undefined) {
    throw invalid(files, 'it was written by a Docker before version 1.10', 'Load it into a Docker of today, and save it again.');
  }
  throw invalid(
    files,
    'it has neither manifest.json nor oci-layout and index.json',
    'What "docker save", "podman save" and skopeo write can be loaded; of a root file system "strata import" makes an image.',
  );
}

function digestsOf({ configBytes, manifest }: ArchivedImage): Digest[] {
  return [digestOf(configBytes), ...(manifest === undefined ? [] : [digestOf(manifest.bytes)])];
}

function isFor(config: ImageConfig, { os, architecture, variant }: Platform): boolean {
  return config.os === os && config.architecture === architecture && (variant === undefined || config['variant'] === variant);
}
