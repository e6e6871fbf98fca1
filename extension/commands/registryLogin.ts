import * as vscode from 'vscode';
import { type RegistryCredentials, registryOf, StrataError } from '../../helper/protocol/index.ts';
import type { RegistryLogins } from '../registryLogins.ts';
import type { CommandHandlers } from './registry.ts';

export function loginCommands(logins: RegistryLogins): Pick<CommandHandlers, 'strata.registry.logIn' | 'strata.registry.logOut'> {
  return {
    'strata.registry.logIn': async () => {
      const registry = await vscode.window.showInputBox({
        title: 'Log In to Registry',
        prompt: 'Host and port of the registry; docker.io is Docker Hub.',
        value: 'docker.io',
        ignoreFocusOut: true,
      });
      if (registry !== undefined && registry.trim() !== '') await logIn(logins, registry.trim());
    },
    'strata.registry.logOut': async () => {
      const registries = await logins.registries();
      if (registries.length === 0) {
        void vscode.window.showInformationMessage(
          'You are logged in to no registry from here. What "docker login" keeps, "docker logout" removes.',
        );
        return;
      }
      const registry = await vscode.window.showQuickPick(registries, { title: 'Log Out of Registry', placeHolder: 'Choose a registry' });
      if (registry !== undefined) await logins.forget(registry);
    },
  };
}

/**
 * Does what a registry is asked for, with what the person is logged in with there. Who is not let in may log in, and it is tried again.
 * `what` begins the sentence about it: "Pull debian:12". Undefined where the person gave up.
 */
export async function withLogin<T>(
  logins: RegistryLogins,
  { reference, what }: { readonly reference: string; readonly what: string },
  act: (credentials: RegistryCredentials | undefined) => Promise<T>,
): Promise<T | undefined> {
  const registry = registryOf(reference);
  for (;;) {
    try {
      return await act(await logins.credentialsFor(registry));
    } catch (error) {
      if (error instanceof StrataError && error.code === 'CANCELLED') return undefined;
      if (!(error instanceof StrataError) || error.code !== 'REGISTRY_DENIED') throw error;
      const logInAnswer = 'Log In…';
      const answer = await vscode.window.showErrorMessage(`${what}: ${error.message}.`, logInAnswer);
      if (answer !== logInAnswer || !(await logIn(logins, registry))) return undefined;
    }
  }
}

/** False where the person gave up. */
async function logIn(logins: RegistryLogins, registry: string): Promise<boolean> {
  const title = `Log In to ${registry}`;
  const username = await vscode.window.showInputBox({ title, prompt: 'User name', ignoreFocusOut: true });
  if (username === undefined || username === '') return false;
  const password = await vscode.window.showInputBox({
    title,
    prompt: 'Password or access token. VS Code keeps it as a secret; it goes to the registry alone.',
    password: true,
    ignoreFocusOut: true,
  });
  if (password === undefined || password === '') return false;
  await logins.keep(registry, { kind: 'password', username, password });
  return true;
}
