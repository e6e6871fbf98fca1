import { type ContainerId, containerIdSchema, type Digest, StrataError } from '../protocol/index.ts';
import type { Container } from './container.ts';
import { generateName } from './names.ts';

/**
 * The containers that are, by id and by name.
 *
 * Invariants: a name belongs to one container, from before its record is written until after it is gone; everything
 * here happens in one tick, so two who ask at once cannot both get it.
 */
export class ContainerRegistry {
  readonly #byId = new Map<ContainerId, Container>();
  readonly #names = new Map<string, ContainerId>();
  /** Those that are being removed. */
  readonly #going = new Set<ContainerId>();
  /** Images that containers are being made of. */
  readonly #claims = new Map<ContainerId, { readonly imageId: Digest; readonly name: string }>();

  all(): Container[] {
    return [...this.#byId.values()].sort((a, b) => (a.record.createdAt < b.record.createdAt ? 1 : -1));
  }

  running(): Container[] {
    return [...this.#byId.values()].filter((container) => container.state.kind === 'running');
  }

  get(id: ContainerId): Container | undefined {
    return this.#byId.get(id);
  }

  /** By name or whole id. */
  lookUp(reference: string): Container | undefined {
    const id = this.#names.get(reference) ?? containerIdSchema.safeParse(reference).data;
    return id === undefined ? undefined : this.#byId.get(id);
  }

  /** By id, name, or a unique start of the id. */
  find(reference: string): Container {
    const exact = this.lookUp(reference);
    if (exact !== undefined) return exact;
    const found = /^[0-9a-f]{1,32}$/.test(reference) ? [...this.#byId.values()].filter(({ id }) => id.startsWith(reference)) : [];
    if (found[0] === undefined) {
      throw new StrataError('CONTAINER_NOT_FOUND', `there is no container "${reference}"`, { details: { container: reference } });
    }
    if (found.length > 1) throw new StrataError('CONTAINER_AMBIGUOUS', `"${reference}" is the start of ${found.length} container ids`);
    return found[0];
  }

  /** Takes the name (or makes one) and holds the image for a container that is being made. */
  claim(id: ContainerId, imageId: Digest, wanted: string | undefined): string {
    if (wanted !== undefined) this.#requireFree(wanted);
    const name = wanted ?? generateName((candidate) => this.#names.has(candidate));
    this.#names.set(name, id);
    this.#claims.set(id, { imageId, name });
    return name;
  }

  /** The container did not come to be. */
  unclaim(id: ContainerId): void {
    const claim = this.#claims.get(id);
    this.#claims.delete(id);
    if (claim !== undefined && !this.#byId.has(id)) this.#names.delete(claim.name);
  }

  /**
   * Two of one name were left by a crash: one was going, the other came. The older gets another name, in memory alone (the
   * next helper finds the same); it is returned.
   */
  add(container: Container): Container | undefined {
    const rival = this.#byId.get(this.#names.get(container.record.name) ?? container.id);
    this.#byId.set(container.id, container);
    this.#claims.delete(container.id);
    if (rival === undefined || rival === container) {
      this.#names.set(container.record.name, container.id);
      return undefined;
    }
    const { name } = container.record;
    const [older, newer] = rival.record.createdAt < container.record.createdAt ? [rival, container] : [container, rival];
    older.record = { ...older.record, name: `${name}-${older.id.slice(0, 8)}` };
    this.#names.set(older.record.name, older.id);
    this.#names.set(name, newer.id);
    return older;
  }

  rename(container: Container, name: string): void {
    if (container.record.name === name) return;
    this.#requireFree(name);
    this.#names.set(name, container.id);
  }

  /** The name is free again. */
  unname(name: string, container: Container): void {
    if (this.#names.get(name) === container.id) this.#names.delete(name);
  }

  /** It is going: its name is free, and it holds its image no more. */
  release(container: Container): void {
    this.unname(container.record.name, container);
    this.#going.add(container.id);
  }

  isGoing(container: Container): boolean {
    return this.#going.has(container.id);
  }

  /** Nobody finds it any more. */
  hide(container: Container): void {
    this.unname(container.record.name, container);
    this.#byId.delete(container.id);
    this.#going.delete(container.id);
  }

  /** Names of the containers that hold an image. */
  usersOf(imageId: Digest): string[] {
    const users = [...this.#byId.values()]
      .filter(({ id, record }) => record.imageId === imageId && !this.#going.has(id))
      .map(({ record }) => record.name);
    const claims = [...this.#claims.values()].filter((claim) => claim.imageId === imageId).map((claim) => claim.name);
    return [...users, ...claims];
  }

  #requireFree(name: string): void {
    const owner = this.#names.get(name);
    if (owner === undefined) return;
    throw new StrataError('NAME_IN_USE', `the name "${name}" belongs to container ${owner.slice(0, 12)}`, {
      details: { name, container: owner },
    });
  }
}
