/** What the wire speaks of, by subject. */
export * from './containers.ts';
export * from './diskUsage.ts';
export * from './host.ts';
export * from './images.ts';
export * from './layerCheck.ts';
export * from './layers.ts';
export * from './limits.ts';
export * from './stats.ts';
export * from './views.ts';
