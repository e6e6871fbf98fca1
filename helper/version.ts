import manifest from '../package.json' with { type: 'json' };

/** Of the product, in one place: the manifest. */
export const VERSION: string = manifest.version;
