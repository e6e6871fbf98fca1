import * as vscode from 'vscode';
import {
  type ContainerId,
  type ContainerSummary,
  containerIdSchema,
  digestSchema,
  type ImageSummary,
} from '../../helper/protocol/index.ts';
import { isKeyArgument, type KeyArgument } from '../contributions/keybindings.ts';
import { shortId, stateWords } from '../model/containerWords.ts';
import { type NamedImage, namedImages, nameOf, repositoriesOf } from '../model/imageGroups.ts';
import { containersInOrder } from '../model/state.ts';
import type { Store } from '../model/store.ts';
import { formatBytes } from '../model/units.ts';
import type { ImagesNode } from '../views/imagesView.ts';

/** The rows that a key which is pressed now in a view is for. */
export type KeyRows = Readonly<Record<KeyArgument, () => Promise<readonly unknown[]>>>;

/** Finds what a command is about: the rows it was invoked on, those that a key is for, or a question. */
export class Targets {
  readonly #store: Store;
  readonly #keyRows: KeyRows;
  readonly #ofSourceControl: (control: unknown) => ContainerId | undefined;

  /** `ofSourceControl`: the container that a source control of the SCM view is of. */
  constructor(store: Store, keyRows: KeyRows, ofSourceControl: (control: unknown) => ContainerId | undefined) {
    this.#store = store;
    this.#keyRows = keyRows;
    this.#ofSourceControl = ofSourceControl;
  }

  /** `fits` chooses whom to offer, and whom of several selected rows the command is for. Empty: the user left. */
  async containers(
    args: readonly unknown[],
    prompt: string,
    fits: (container: ContainerSummary) => boolean = () => true,
  ): Promise<readonly ContainerSummary[]> {
    const nodes = await this.#nodes(args);
    if (nodes !== undefined)
      return nodes
        .map((node) => this.#containerOf(node))
        .filter((container) => container !== undefined && fits(container)) as ContainerSummary[]; // filter does not narrow through &&
    const fitting = containersInOrder(this.#store.state).filter(fits);
    if (fitting.length === 0) {
      void vscode.window.showInformationMessage(`${prompt}: there is no container that this fits.`);
      return [];
    }
    const chosen = await vscode.window.showQuickPick(
      fitting.map((container) => ({ label: container.name, description: `${container.image} · ${stateWords(container)}`, container })),
      { title: prompt, placeHolder: 'Choose a container', matchOnDescription: true },
    );
    return chosen === undefined ? [] : [chosen.container];
  }

  async container(
    args: readonly unknown[],
    prompt: string,
    fits?: (container: ContainerSummary) => boolean,
  ): Promise<ContainerSummary | undefined> {
    return (await this.containers(args.slice(0, 1), prompt, fits))[0];
  }

  /** Images, each under the name of its row. Empty: the user left. */
  async allNamed(
    args: readonly unknown[],
    prompt: string,
    fits: (named: NamedImage) => boolean = () => true,
  ): Promise<readonly NamedImage[]> {
    const nodes = await this.#nodes(args);
    if (nodes !== undefined) {
      const named = nodes.flatMap((node) => this.#namesOf(node));
      // Steps of its history are rows of the same image.
      return [...new Map(named.filter(fits).map((one) => [`${one.image.id} ${one.reference ?? ''}`, one])).values()];
    }
    const all = namedImages(this.#store.state.images.values()).filter(fits);
    if (all.length === 0) {
      void vscode.window.showInformationMessage(`${prompt}: there is no image that this fits.`);
      return [];
    }
    const chosen = await vscode.window.showQuickPick(
      all.map((named) => ({
        label: nameOf(named),
        description: `${formatBytes(named.image.sizeBytes)} · ${shortId(named.image.id)}`,
        named,
      })),
      { title: prompt, placeHolder: 'Choose an image', matchOnDescription: true },
    );
    return chosen === undefined ? [] : [chosen.named];
  }

  async named(args: readonly unknown[], prompt: string, fits?: (named: NamedImage) => boolean): Promise<NamedImage | undefined> {
    return (await this.allNamed(args.slice(0, 1), prompt, fits))[0];
  }

  /** The image's name that a row of the Images view is of, if it is one. */
  nameOf(node: unknown): string | undefined {
    return this.#namedOf(node)?.reference;
  }

  /** The repository that a row of the Images view is, if it is one with a name. */
  repositoryOf(node: unknown): string | undefined {
    return repositoryNameOf(node) || undefined;
  }

  /** The image of a row of the Images view, if this is one. */
  imageOf(node: unknown): ImageSummary | undefined {
    const id = digestSchema.safeParse(idOf(node));
    return id.success ? this.#store.image(id.data) : undefined;
  }

  /** A repository stands for all its images. */
  #namesOf(node: unknown): readonly NamedImage[] {
    const repository = repositoryNameOf(node);
    if (repository !== undefined)
      return repositoriesOf(this.#store.state.images.values()).find(({ name }) => name === repository)?.images ?? [];
    const named = this.#namedOf(node);
    return named === undefined ? [] : [named];
  }

  #namedOf(node: unknown): NamedImage | undefined {
    const image = this.imageOf(node);
    if (image === undefined) return undefined;
    const { reference } = node as { readonly reference?: unknown }; // imageOf has found an id in it, so it is an object
    return { image, reference: image.references.find((name) => name === reference) };
  }

  #containerOf(node: unknown): ContainerSummary | undefined {
    const id = containerIdSchema.safeParse(this.#ofSourceControl(node) ?? idOf(node));
    return id.success ? this.#store.container(id.data) : undefined;
  }

  /** VS Code gives the row that was clicked and all that are selected; a key binding of ours gives one of `keyArguments`. */
  async #nodes(args: readonly unknown[]): Promise<readonly unknown[] | undefined> {
    const [first, all] = args;
    if (isKeyArgument(first)) return await this.#keyRows[first]();
    if (idOf(first) === undefined && repositoryNameOf(first) === undefined) return undefined;
    return Array.isArray(all) && all.length > 0 ? (all as readonly unknown[]) : [first]; // isArray makes any[] of it
  }
}

/** '' is the group of images without a name; undefined for any other row. */
function repositoryNameOf(node: unknown): string | undefined {
  const row = typeof node === 'object' && node !== null ? (node as Partial<ImagesNode>) : {}; // what getChildren gave, or a stranger's
  return row.kind === 'repository' ? row.name : undefined;
}

function idOf(node: unknown): unknown {
  return typeof node === 'object' && node !== null && 'id' in node ? node.id : undefined;
}

export const isRunning = (container: ContainerSummary): boolean => container.state.kind === 'running';
/** Nothing can be run in what stands still. */
export const isAwake = (container: ContainerSummary): boolean => container.state.kind === 'running' && container.state.paused !== true;
export const isPaused = (container: ContainerSummary): boolean => container.state.kind === 'running' && container.state.paused === true;
/** What is about to be started again can be stopped, too. */
export const isStoppable = (container: ContainerSummary): boolean =>
  isRunning(container) || (container.state.kind === 'exited' && container.state.restartsAt !== undefined);
export const isRestartable = (container: ContainerSummary): boolean => isRunning(container) && !container.autoRemove;
export const isStopped = (container: ContainerSummary): boolean => container.state.kind !== 'running';
