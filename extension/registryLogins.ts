import type * as vscode from 'vscode';
import { findCredentials } from '../helper/credentials/dockerConfig.ts';
import { type RegistryCredentials, registryCredentialsSchema } from '../helper/protocol/index.ts';

/** One secret for all, because not every VS Code that this runs in can list them. */
const KEY = 'strata.registries';

/** What the person logged in to registries with: here, kept by VS Code, or before with Docker or Podman. */
export class RegistryLogins {
  readonly #secrets: vscode.SecretStorage;

  constructor(secrets: vscode.SecretStorage) {
    this.#secrets = secrets;
  }

  async credentialsFor(registry: string): Promise<RegistryCredentials | undefined> {
    return (await this.#read()).get(registry) ?? (await findCredentials(registry));
  }

  /** Registries that were logged in to from here. */
  async registries(): Promise<string[]> {
    return [...(await this.#read()).keys()].sort();
  }

  async keep(registry: string, credentials: RegistryCredentials): Promise<void> {
    await this.#write((await this.#read()).set(registry, credentials));
  }

  async forget(registry: string): Promise<void> {
    const all = await this.#read();
    all.delete(registry);
    await this.#write(all);
  }

  /** What cannot be read is of another version of this extension: one logs in again. */
  async #read(): Promise<Map<string, RegistryCredentials>> {
    const text = await this.#secrets.get(KEY);
    const found = new Map<string, RegistryCredentials>();
    for (const [registry, value] of entriesOf(text)) {
      const credentials = registryCredentialsSchema.safeParse(value);
      if (credentials.success) found.set(registry, credentials.data);
    }
    return found;
  }

  async #write(all: ReadonlyMap<string, RegistryCredentials>): Promise<void> {
    await this.#secrets.store(KEY, JSON.stringify(Object.fromEntries(all)));
  }
}

function entriesOf(text: string | undefined): [string, unknown][] {
  if (text === undefined) return [];
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? Object.entries(value) : [];
  } catch {
    return [];
  }
}
