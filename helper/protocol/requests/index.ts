import type * as z from 'zod';
import { bootstrapMethods } from './bootstrap.ts';
import { containerMethods } from './containers.ts';
import { copyMethods } from './copies.ts';
import { imageArchiveMethods } from './imageArchives.ts';
import { imageMethods } from './images.ts';
import { layerCheckMethods } from './layerCheck.ts';
import { layerMethods } from './layers.ts';
import type { Method } from './method.ts';
import { sessionMethods } from './session.ts';
import { statsMethods } from './stats.ts';
import { viewMethods } from './views.ts';

/** Every request of the wire. A new one goes to its subject's file. */
export const methods = {
  ...sessionMethods,
  ...containerMethods,
  ...copyMethods,
  ...statsMethods,
  ...imageMethods,
  ...imageArchiveMethods,
  ...bootstrapMethods,
  ...layerMethods,
  ...viewMethods,
  ...layerCheckMethods,
} as const satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export type Params<M extends MethodName> = z.infer<(typeof methods)[M]['params']>;
export type MethodResult<M extends MethodName> = z.infer<(typeof methods)[M]['result']>;
