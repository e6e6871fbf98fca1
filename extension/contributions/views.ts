export const viewContainerId = 'strata';

export const views = {
  containers: { id: 'strata.containers', name: 'Containers', initialSize: 3 },
  images: { id: 'strata.images', name: 'Images', initialSize: 3 },
  layers: { id: 'strata.layers', name: 'Layers', initialSize: 5 },
  cgroups: { id: 'strata.cgroups', name: 'Cgroups', initialSize: 4 },
} as const;
export type ViewKey = keyof typeof views;
export type ViewId = (typeof views)[ViewKey]['id'];

/** First words of a tree item's contextValue; flags follow, separated by blanks ("container running"). */
export const itemKinds = {
  container: 'container',
  repository: 'repository',
  image: 'image',
  historyStep: 'historyStep',
  layer: 'layer',
  layerEntry: 'layerEntry',
  merged: 'merged',
  mergedEntry: 'mergedEntry',
  limitedFigure: 'limitedFigure',
} as const;
