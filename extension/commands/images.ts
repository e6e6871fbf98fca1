import * as vscode from 'vscode';
import { repositoryOf } from '../../helper/protocol/index.ts';
import type { HelperDocuments } from '../files/helperDocuments.ts';
import { type NamedImage, nameOf } from '../model/imageGroups.ts';
import type { Services } from '../services.ts';
import { importImage } from './importImage.ts';
import { pruneImages } from './prune.ts';
import { askReference } from './referenceBox.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type ImageCommands = Pick<
  CommandHandlers,
  | 'strata.image.import'
  | 'strata.image.tag'
  | 'strata.image.remove'
  | 'strata.image.prune'
  | 'strata.image.inspect'
  | 'strata.image.history'
  | 'strata.image.usage'
  | 'strata.image.copyId'
  | 'strata.image.copyName'
>;

export function imageCommands(services: Services, targets: Targets, documents: HelperDocuments): ImageCommands {
  return {
    'strata.image.import': () => importImage(services),
    'strata.image.tag': async (args) => {
      const named = await targets.named(args, 'Tag image');
      if (named !== undefined) await tagImage(services, named);
    },
    'strata.image.remove': async (args) => {
      const images = await targets.allNamed(args, 'Remove image');
      if (images.length === 0 || !(await confirmRemoval(services, images))) return;
      await Promise.all(
        images.map((named) =>
          services.errors.guard(`Remove ${nameOf(named)}`, () =>
            services.client.request('image.remove', { image: named.reference ?? named.image.id }),
          ),
        ),
      );
    },
    'strata.image.prune': () => pruneImages(services),
    'strata.image.inspect': async (args) => {
      const named = await targets.named(args, 'Inspect image');
      if (named !== undefined) await documents.open('image', named.image.id, nameOf(named));
    },
    'strata.image.history': async (args) => {
      const named = await targets.named(args, 'Show history');
      if (named !== undefined) await documents.open('history', named.image.id, nameOf(named));
    },
    'strata.image.usage': () => documents.open('usage', 'usage', 'strata-disk-usage'),
    'strata.image.copyId': async (args) => {
      const images = await targets.allNamed(args, 'Copy image id');
      if (images.length > 0) await vscode.env.clipboard.writeText(images.map(({ image }) => image.id).join('\n'));
    },
    'strata.image.copyName': async (args) => {
      const images = await targets.allNamed(args, 'Copy image name');
      if (images.length > 0) await vscode.env.clipboard.writeText(images.map(nameOf).join('\n'));
    },
  };
}

/** One more name for an image. */
async function tagImage({ client, store }: Services, named: NamedImage): Promise<void> {
  const { image } = named;
  const holderOf = (reference: string): string | undefined =>
    [...store.state.images.values()].find(({ references }) => references.includes(reference))?.id;
  const reference = await askReference({
    title: `Tag ${nameOf(named)}`,
    prompt: 'One more name for it: name, name:tag or registry/name:tag. Without a tag it is "latest".',
    value: named.reference === undefined ? '' : `${repositoryOf(named.reference)}:`,
    meaning: ({ reference: asked }) => {
      const holder = holderOf(asked);
      if (holder === undefined) return asked;
      return holder === image.id ? `It is named ${asked} already.` : `${asked} is another image, which loses this name.`;
    },
  });
  if (reference !== undefined) await client.request('image.tag', { image: image.id, reference });
}

/** Says of each what goes with it: a name alone, or with the last one the image. */
async function confirmRemoval({ store }: Services, images: readonly NamedImage[]): Promise<boolean> {
  const names = images.map(nameOf);
  const gone = images.filter(({ image }) => image.references.every((reference) => names.includes(reference)));
  const goneIds = new Set(gone.map(({ image }) => image.id));
  const users = [...store.state.containers.values()].filter(({ imageId }) => goneIds.has(imageId)).map(({ name }) => name);
  const [first] = images;
  const others =
    images.length === 1 && first !== undefined ? first.image.references.filter((reference) => reference !== first.reference) : [];
  const sentences = [
    images.length === 1 ? '' : `${names.join('\n')}\n\n`,
    goneIds.size === 0
      ? `Only the name goes: the image stays as ${others.length > 0 ? others.join(', ') : 'what else it is named'}. `
      : `${images.length === 1 ? 'The image goes with its last name' : 'Images go with their last name'}, and the layers that no other image has are deleted. `,
    users.length === 0 ? '' : `In use by ${users.join(', ')}: the helper will refuse until they are removed.`,
  ];
  const answer = await vscode.window.showWarningMessage(
    images.length === 1 ? `Remove image "${names[0] ?? ''}"?` : `Remove ${images.length} names of images?`,
    { modal: true, detail: sentences.join('').trim() },
    'Remove',
  );
  return answer === 'Remove';
}
