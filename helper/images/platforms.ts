import { arch } from 'node:os';
import { StrataError } from '../protocol/index.ts';
import { plain } from './imageText.ts';
import type { Descriptor, Platform } from './manifest.ts';

/** GOARCH names, as image-spec wants them. */
export function imageArchitecture(): string {
  const machine = arch();
  return machine === 'x64' ? 'amd64' : machine;
}

/** "linux/arm64/v8", or this host's. */
export function parsePlatform(text: string | undefined): Platform {
  if (text === undefined) return { os: 'linux', architecture: imageArchitecture() };
  const [os = '', architecture = '', variant, ...rest] = text.split('/');
  if (os === '' || architecture === '' || rest.length > 0) {
    throw new StrataError('INVALID_REQUEST', `"${text}" is no platform`, {
      hint: 'A platform looks like "linux/arm64" or "linux/arm/v7".',
    });
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

/** The manifest of an index that is for this platform; `name` says whose index it is. */
export function choosePlatform(manifests: readonly Descriptor[], wanted: Platform, name: string): Descriptor {
  const fits = manifests.filter(({ platform }) => platform?.os === wanted.os && platform.architecture === wanted.architecture);
  const exact = fits.find(({ platform }) => platform?.variant === wanted.variant);
  const chosen = exact ?? (wanted.variant === undefined ? fits[0] : undefined);
  if (chosen !== undefined) return chosen;
  const known = manifests.flatMap(({ platform }) => (platform === undefined || platform.os === 'unknown' ? [] : [platformText(platform)]));
  throw new StrataError('IMAGE_NOT_FOUND', `${name} is not made for ${platformText(wanted)}`, {
    hint: known.length === 0 ? 'Its index names no platforms.' : `It is made for ${plain([...new Set(known)].join(', '))}.`,
  });
}
