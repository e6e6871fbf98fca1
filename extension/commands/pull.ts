import * as vscode from 'vscode';
import { type ImageSummary, type PullLayer, pullBytes, pullText, registryOf, StrataError } from '../../helper/protocol/index.ts';
import { judgeReference } from '../model/pullQuestion.ts';
import type { RegistryLogins } from '../registryLogins.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type PullCommands = Pick<CommandHandlers, 'strata.image.pull' | 'strata.registry.logIn' | 'strata.registry.logOut'>;

export function pullCommands(services: Services, targets: Targets, logins: RegistryLogins): PullCommands {
  return {
    'strata.image.pull': async (args) => {
      const known = targets.imageOf(args[0])?.references[0];
      const reference = known ?? (await askReference());
      if (reference === undefined) return;
      const image = await pullImage(services, logins, reference);
      if (image !== undefined) void vscode.window.showInformationMessage(`Pulled ${reference}.`);
    },
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

async function askReference(): Promise<string | undefined> {
  const text = await vscode.window.showInputBox({
    title: 'Pull Image',
    prompt: 'Name of the image, for instance debian:12, quay.io/podman/hello or localhost:5000/app:1.',
    ignoreFocusOut: true,
    validateInput: (typed) => {
      const judgement = judgeReference(typed);
      if (judgement.kind === 'invalid') return judgement.problem;
      if (judgement.kind === 'empty') return undefined;
      const message = `${judgement.reference} from ${judgement.from}`;
      return { message, severity: vscode.InputBoxValidationSeverity.Info };
    },
  });
  const judgement = judgeReference(text ?? '');
  return judgement.kind === 'valid' ? judgement.reference : undefined;
}

/** Undefined where the person gave up. Who is not let in may log in and goes on. */
export async function pullImage(services: Services, logins: RegistryLogins, reference: string): Promise<ImageSummary | undefined> {
  const registry = registryOf(reference);
  for (;;) {
    try {
      return await withPullProgress(services, logins, reference);
    } catch (error) {
      if (error instanceof StrataError && error.code === 'CANCELLED') return undefined;
      if (!(error instanceof StrataError) || error.code !== 'REGISTRY_DENIED') throw error;
      const logInAnswer = 'Log In…';
      const answer = await vscode.window.showErrorMessage(`Pull ${reference}: ${error.message}.`, logInAnswer);
      if (answer !== logInAnswer || !(await logIn(logins, registry))) return undefined;
    }
  }
}

let lastProgress = 0;

async function withPullProgress({ client }: Services, logins: RegistryLogins, reference: string): Promise<ImageSummary> {
  return await cancellable(`Pulling ${reference}`, async (signal, report) => {
    lastProgress += 1;
    const progress = lastProgress;
    let shownPercent = 0;
    const show = (layers: readonly PullLayer[]): void => {
      const { doneBytes, totalBytes } = pullBytes(layers);
      const percent = totalBytes === 0 ? 0 : Math.floor((100 * doneBytes) / totalBytes);
      report(pullText(layers), Math.max(0, percent - shownPercent));
      shownPercent = Math.max(percent, shownPercent);
    };
    const stop = client.onMessage((message) => {
      if (message.kind === 'event' && message.event === 'image.pulling' && message.params.progress === progress)
        show(message.params.layers);
    });
    try {
      const credentials = await logins.credentialsFor(registryOf(reference));
      return (await client.request('image.pull', { reference, credentials, progress }, { signal })).image;
    } finally {
      stop();
    }
  });
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
