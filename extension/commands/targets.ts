import * as vscode from 'vscode';
import { type ContainerSummary, containerIdSchema, digestSchema, type ImageSummary } from '../../helper/protocol/index.ts';
import { stateWords } from '../model/containerWords.ts';
import { containersInOrder, imagesInOrder } from '../model/state.ts';
import type { Store } from '../model/store.ts';
import { formatBytes } from '../model/units.ts';
import { imageName } from '../views/imageItem.ts';

/** Finds what a command is about: the rows it was invoked on, those that a key is for, or a question. */
export class Targets {
  readonly #store: Store;
  readonly #keyRows: () => Promise<readonly unknown[]>;

  /** `keyRows`: the rows that a key which is pressed now is for. */
  constructor(store: Store, keyRows: () => Promise<readonly unknown[]>) {
    this.#store = store;
    this.#keyRows = keyRows;
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

  async images(args: readonly unknown[], prompt: string): Promise<readonly ImageSummary[]> {
    const nodes = await this.#nodes(args);
    if (nodes !== undefined) return nodes.map((node) => this.imageOf(node)).filter((image) => image !== undefined);
    const all = imagesInOrder(this.#store.state);
    if (all.length === 0) {
      void vscode.window.showInformationMessage(`${prompt}: there are no images yet.`);
      return [];
    }
    const chosen = await vscode.window.showQuickPick(
      all.map((image) => ({ label: imageName(image), description: formatBytes(image.sizeBytes), image })),
      { title: prompt, placeHolder: 'Choose an image' },
    );
    return chosen === undefined ? [] : [chosen.image];
  }

  /** The image of a row of the Images view, if this is one. */
  imageOf(node: unknown): ImageSummary | undefined {
    const id = digestSchema.safeParse(idOf(node));
    return id.success ? this.#store.image(id.data) : undefined;
  }

  #containerOf(node: unknown): ContainerSummary | undefined {
    const id = containerIdSchema.safeParse(idOf(node));
    return id.success ? this.#store.container(id.data) : undefined;
  }

  /** VS Code gives the row that was clicked and all that are selected; a key binding of ours gives "selection". */
  async #nodes(args: readonly unknown[]): Promise<readonly unknown[] | undefined> {
    const [first, all] = args;
    if (first === 'selection') return await this.#keyRows();
    if (idOf(first) === undefined) return undefined;
    return Array.isArray(all) && all.length > 0 ? (all as readonly unknown[]) : [first]; // isArray makes any[] of it
  }
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
