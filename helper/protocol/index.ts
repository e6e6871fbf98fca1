/** The wire contract between the helper and its clients: everything a client may import of the helper. */
export * from './commandLine.ts';
export * from './copies.ts';
export * from './durations.ts';
export * from './errors.ts';
export * from './eventRecord.ts';
export * from './events.ts';
export * from './exit.ts';
export * from './frames.ts';
export * from './ids.ts';
export * from './imageNames.ts';
export * from './limits.ts';
export * from './model/index.ts';
export * from './pull.ts';
export { maxLabelCharacters } from './requests/containers.ts';
export * from './requests/index.ts';
export type { Method } from './requests/method.ts';
export * from './sizes.ts';
export * from './version.ts';
