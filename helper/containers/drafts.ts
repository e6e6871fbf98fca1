import { changeLimits, type HostCapacity } from '../cgroups/limits.ts';
import { damaged, type Image, type ImageStore } from '../images/imageStore.ts';
import type { Logger } from '../log.ts';
import {
  type ContainerId,
  type CreateOptions,
  containerNameSchema,
  DEFAULT_LIMITS,
  type ImageConfig,
  type Limits,
  type LimitsChange,
  type RestartPolicy,
  StrataError,
} from '../protocol/index.ts';
import { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import { type ContainerPlan, planContainer } from './plan.ts';
import type { ContainerRecord } from './record.ts';
import type { ContainerRegistry } from './registry.ts';
import { newContainerId, type SandboxFactory } from './sandboxes.ts';

/** What a container whose image cannot be read is shown with. It cannot be started, but stopped and removed. */
const unknownImage: ImageConfig = {
  architecture: '',
  os: 'linux',
  config: { Cmd: ['(unknown)'] },
  rootfs: { type: 'layers', diff_ids: [] },
};

export interface Draft {
  readonly container: Container;
  readonly image: Image;
  readonly warnings: string[];
}

/** From what was asked for, an image and the host to the container that it would be. Nothing is written here. */
export class ContainerDrafts {
  readonly #files: ContainerFiles;
  readonly #registry: ContainerRegistry;
  readonly #images: ImageStore;
  readonly #factory: SandboxFactory;
  readonly #host: HostCapacity;
  readonly #log: Logger;

  constructor(options: {
    files: ContainerFiles;
    registry: ContainerRegistry;
    images: ImageStore;
    factory: SandboxFactory;
    host: HostCapacity;
    log: Logger;
  }) {
    this.#files = options.files;
    this.#registry = options.registry;
    this.#images = options.images;
    this.#factory = options.factory;
    this.#host = options.host;
    this.#log = options.log;
  }

  /** The limits after a change, if this host can give them. */
  changeLimits(present: Limits, change: LimitsChange): Limits {
    return changeLimits(present, change, this.#host);
  }

  /** Refuses what cannot be, before anything is touched. */
  check(options: CreateOptions): ContainerPlan {
    const { image } = this.#images.resolve(options.image);
    if (options.name !== undefined) requireName(options.name);
    if (options.restartPolicy !== undefined) requireRestartable(options, options.restartPolicy);
    const limits = this.changeLimits(DEFAULT_LIMITS, options.limits ?? {});
    return planContainer({ id: newContainerId(), options, image: image.config, limits, cgroup: '/' });
  }

  /** Claims its name. */
  draft(id: ContainerId, options: CreateOptions): Draft {
    const { image, reference } = this.#images.resolve(options.image);
    if (options.name !== undefined) requireName(options.name);
    if (options.restartPolicy !== undefined) requireRestartable(options, options.restartPolicy);
    const limits = this.changeLimits(DEFAULT_LIMITS, options.limits ?? {});
    const unnamed: ContainerRecord = {
      id,
      name: '',
      image: reference ?? options.image,
      imageId: image.id,
      options,
      limits,
      createdAt: new Date().toISOString(),
      startedInBoot: null,
    };
    const plan = this.plan(unnamed, image.config);
    const record = { ...unnamed, name: this.#registry.claim(id, image.id, options.name) };
    const paths = this.#files.paths(id);
    const container = new Container({ record, plan, state: { kind: 'created' }, paths, cgroup: this.#factory.cgroupOf(id) });
    return { container, image, warnings: [...plan.warnings] };
  }

  /** For a container that has a record. */
  plan(record: ContainerRecord, image = this.#configOf(record)): ContainerPlan {
    return planContainer({
      id: record.id,
      options: record.options,
      image,
      limits: record.limits,
      cgroup: this.#factory.cgroupOf(record.id),
    });
  }

  imageOf(record: ContainerRecord): Image {
    const image = this.#images.get(record.imageId);
    if (image !== undefined) return image;
    if (this.#images.isDamaged(record.imageId)) throw damaged(record.imageId);
    throw new StrataError('IMAGE_NOT_FOUND', `the image ${record.image} of container "${record.name}" is gone`, {
      details: { image: record.imageId },
    });
  }

  #configOf(record: ContainerRecord): ImageConfig {
    const image = this.#images.get(record.imageId);
    if (image === undefined) this.#log.error({ container: record.id, image: record.imageId }, 'the image of a container cannot be read');
    return image?.config ?? unknownImage;
  }
}

export function requireName(name: string): void {
  const parsed = containerNameSchema.safeParse(name);
  if (parsed.success) return;
  throw new StrataError('INVALID_REQUEST', `"${name}": ${parsed.error.issues[0]?.message ?? 'no container name'}`, { details: { name } });
}

/** What is removed at its end cannot be started again. */
export function requireRestartable(options: CreateOptions, { name }: RestartPolicy): void {
  if (name === 'no' || options.autoRemove !== true) return;
  throw new StrataError('INVALID_REQUEST', `a container that is removed when it ends cannot have the restart policy ${name}`, {
    hint: 'Leave out one of both.',
  });
}
