import { layerCheckSchema } from '../model/layerCheck.ts';
import { layerMethods } from './layers.ts';
import { LONG_MS, type Method, method } from './method.ts';

export const layerCheckMethods = {
  'layer.check': method({
    doc: 'Walks all layers of a container or an image and tells what is wasted in them and what should not be there. Of files whose names are those of secrets the first bytes are read, and none of them told.',
    role: 'observe',
    timeoutMs: LONG_MS,
    params: layerMethods['layer.stack'].params,
    result: layerCheckSchema,
  }),
} as const satisfies Record<string, Method>;
