import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import * as z from 'zod';
import { DOCKER_HUB, StrataError } from '../../protocol/index.ts';
import { readBounded } from '../../store/boundedFile.ts';

const hostSchema = z.string().regex(/^[A-Za-z0-9.[\]:-]+$/);

/** `registries.json`: what the administrator says of registries. */
const settingsSchema = z.strictObject({
  /** Hosts that speak plain http, or https with a certificate that nobody vouches for. Loopback addresses always may. */
  insecure: z.array(hostSchema).default([]),
  /** Asked first, in this order; what they do not have comes from the registry itself. */
  mirrors: z.record(hostSchema, z.array(z.url({ protocol: /^https?$/ }))).default({}),
  /** Directories with `HOST/*.crt` (certificate authorities) and `HOST/*.cert` + `*.key` (client certificates), Docker's and Podman's form. */
  certificates: z.array(z.string().startsWith('/')).default(['/etc/strata/certs.d', '/etc/docker/certs.d', '/etc/containers/certs.d']),
});
type Settings = z.infer<typeof settingsSchema>;

/** One place to ask for a registry's content. */
export interface Endpoint {
  /** "https://host:port" */
  readonly origin: string;
  readonly tls: TlsOptions;
  /** Somebody else's copy: it gets no credentials. */
  readonly isMirror: boolean;
}

export interface TlsOptions {
  readonly ca?: string[];
  readonly cert?: string;
  readonly key?: string;
  readonly rejectUnauthorized?: false;
}

const maxSettingsBytes = 1024 * 1024;
/** Docker Hub's name is not that of its registry. */
const dockerHubHost = 'registry-1.docker.io';

/** Reads the settings anew for each pull, so that a change needs no restart. A missing file means the defaults. */
export class RegistrySettings {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Where to ask for a registry's content, the registry itself last. */
  async endpoints(registry: string): Promise<Endpoint[]> {
    const settings = await this.#read();
    const host = registry === DOCKER_HUB ? dockerHubHost : registry;
    const mirrors = (Object.hasOwn(settings.mirrors, registry) ? (settings.mirrors[registry] ?? []) : []).map((mirror) => new URL(mirror));
    const found: Endpoint[] = [];
    for (const url of mirrors) found.push({ origin: url.origin, tls: await tlsOf(url.host, settings), isMirror: true });
    const tls = await tlsOf(host, settings);
    if (isInsecure(host, settings)) {
      // What speaks https without a known certificate, and what speaks plain http.
      found.push({ origin: `https://${host}`, tls: { ...tls, rejectUnauthorized: false }, isMirror: false });
      found.push({ origin: `http://${host}`, tls, isMirror: false });
    } else {
      found.push({ origin: `https://${host}`, tls, isMirror: false });
    }
    return found;
  }

  async #read(): Promise<Settings> {
    if (!existsSync(this.#path)) return settingsSchema.parse({});
    try {
      const bytes = await readBounded(this.#path, { mostBytes: maxSettingsBytes, kind: 'regular' });
      return settingsSchema.parse(JSON.parse(new TextDecoder().decode(bytes ?? new Uint8Array())));
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : error instanceof Error ? error.message : '';
      throw new StrataError('INVALID_REQUEST', `the registry settings ${this.#path} cannot be used: ${why}`, {
        hint: 'Mend the file: docs/registries.md tells its form.',
        details: { path: this.#path },
        cause: error,
      });
    }
  }
}

function isInsecure(host: string, settings: Settings): boolean {
  return settings.insecure.includes(host) || isLoopback(host);
}

/** As Docker has it: who can listen there is on this machine. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '');
  if (name === 'localhost' || name === '[::1]') return true;
  return isIP(name) === 4 && name.startsWith('127.');
}

async function tlsOf(host: string, settings: Settings): Promise<TlsOptions> {
  const ca: string[] = [];
  let client: { cert: string; key: string } | undefined;
  for (const directory of settings.certificates.map((parent) => join(parent, host))) {
    if (!existsSync(directory)) continue;
    const names = (await readdir(directory)).sort();
    const read = (name: string): Promise<string> => readFile(join(directory, name), 'utf8');
    for (const name of names.filter((one) => one.endsWith('.crt'))) ca.push(await read(name));
    for (const name of names.filter((one) => one.endsWith('.cert'))) {
      const key = `${name.slice(0, -'.cert'.length)}.key`;
      if (names.includes(key)) client ??= { cert: await read(name), key: await read(key) };
    }
  }
  return { ...(ca.length === 0 ? {} : { ca: [...rootCertificates, ...ca] }), ...client };
}
