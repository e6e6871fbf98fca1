import { setFlagsFromString } from 'node:v8';

// A daemon that mostly waits keeps little resident. V8's young generation would grow in the first burst of work and stay large
// (4 to 5 MiB), and the first function that gets hot would bring in the optimizing compiler (another 5 MiB of node's own
// pages); a container starts in the same time with and without. Imported first, because modules' own work counts.
for (const flag of ['--semi-space-growth-factor=1', '--optimize-for-size', '--no-opt']) setFlagsFromString(flag);
