import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { DOCKER_HUB, type RegistryCredentials, StrataError } from '../protocol/index.ts';

/** What `docker login` and `podman login` write. */
const configSchema = z.looseObject({
  auths: z
    .record(
      z.string(),
      z.looseObject({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
      }),
    )
    .optional(),
  credsStore: z.string().optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
});
type Config = z.infer<typeof configSchema>;

/** docker-credential-helpers' protocol: the answer to `get`. */
const helperAnswerSchema = z.looseObject({ Username: z.string(), Secret: z.string() });

const helperTimeoutMs = 30_000;
/** Docker keeps its own registry's credentials under this address. */
const hubKey = 'https://index.docker.io/v1/';
const hubNames = [DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io'];

export interface CredentialPlaces {
  /** Files in the order in which they are asked. */
  readonly files: readonly string[];
}

/** Where Docker and Podman keep what a person logged in with. */
export function credentialPlaces(env: NodeJS.ProcessEnv = process.env): CredentialPlaces {
  const runtime = env['XDG_RUNTIME_DIR'];
  const config = env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config');
  const own = env['REGISTRY_AUTH_FILE'];
  return {
    files: [
      ...(own === undefined ? [] : [own]),
      join(env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'config.json'),
      ...(runtime === undefined ? [] : [join(runtime, 'containers', 'auth.json')]),
      join(config, 'containers', 'auth.json'),
    ],
  };
}

/**
 * What the person who runs this logged in to a registry with; undefined where they did not. Read with their own rights, on
 * their side of the socket. A file or helper program that fails is an error that names it: to go on without would look as if
 * the image were not there.
 */
export async function findCredentials(
  registry: string,
  places: CredentialPlaces = credentialPlaces(),
): Promise<RegistryCredentials | undefined> {
  for (const file of places.files) {
    const config = await readConfig(file);
    const found = config === undefined ? undefined : await credentialsIn(config, registry);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function readConfig(path: string): Promise<Config | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined;
    throw unusable(path, error);
  }
  try {
    return configSchema.parse(JSON.parse(text));
  } catch (error) {
    throw unusable(path, error);
  }
}

function unusable(path: string, cause: unknown): StrataError {
  const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause instanceof Error ? cause.message : String(cause);
  return new StrataError('REGISTRY_DENIED', `the credentials in ${path} cannot be read: ${why}`, {
    hint: 'Mend or remove the file, and log in again.',
    details: { path },
    cause,
  });
}

async function credentialsIn(config: Config, registry: string): Promise<RegistryCredentials | undefined> {
  const keys = keysOf(registry);
  const helperKey = keys.find((key) => Object.hasOwn(config.credHelpers ?? {}, key));
  const helper = helperKey === undefined ? config.credsStore : config.credHelpers?.[helperKey];
  if (helper !== undefined) {
    const found = await askHelper(helper, registryKey(registry));
    if (found !== undefined) return found;
  }
  for (const key of keys) {
    const entry = Object.hasOwn(config.auths ?? {}, key) ? config.auths?.[key] : undefined;
    if (entry === undefined) continue;
    if (entry.identitytoken !== undefined && entry.identitytoken !== '') return { kind: 'identityToken', token: entry.identitytoken };
    const pair = entry.auth === undefined ? undefined : decode(entry.auth);
    const username = pair?.username ?? entry.username;
    const password = pair?.password ?? entry.password;
    if (username !== undefined && password !== undefined) return { kind: 'password', username, password };
  }
  return undefined;
}

function registryKey(registry: string): string {
  return hubNames.includes(registry) ? hubKey : registry;
}

function keysOf(registry: string): string[] {
  const hosts = hubNames.includes(registry) ? hubNames : [registry];
  return [
    registryKey(registry),
    ...hosts.flatMap((host) => [host, `https://${host}`, `https://${host}/v1/`, `https://${host}/v2/`, `http://${host}`]),
  ];
}

function decode(auth: string): { username: string; password: string } | undefined {
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  // Docker pads with NUL where it once wrote fixed lengths.
  return colon === -1 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
}

async function askHelper(name: string, server: string): Promise<RegistryCredentials | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw new StrataError('REGISTRY_DENIED', `"${name}" is no name of a credential helper`);
  const program = `docker-credential-${name}`;
  const { output, error } = await new Promise<{ output: string; error: Error | undefined }>((resolve) => {
    const child = execFile(program, ['get'], { timeout: helperTimeoutMs, maxBuffer: 1024 * 1024 }, (failure, stdout) =>
      resolve({ output: stdout, error: failure ?? undefined }),
    );
    child.stdin?.on('error', () => {}); // it need not read to the end
    child.stdin?.end(`${server}\n`);
  });
  // The protocol has no code for it, only these words.
  if (/credentials not found/i.test(output)) return undefined;
  const parsed = error === undefined ? helperAnswerSchema.safeParse(safeJson(output)) : undefined;
  if (parsed?.success !== true) {
    throw new StrataError(
      'REGISTRY_DENIED',
      `${program} gives no credentials for ${server}: ${(error?.message ?? output).trim().slice(0, 300)}`,
      {
        hint: 'Check that it is installed and unlocked, or log in again.',
      },
    );
  }
  const { Username: username, Secret: secret } = parsed.data;
  return username === '<token>' ? { kind: 'identityToken', token: secret } : { kind: 'password', username, password: secret };
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
