import * as vscode from 'vscode';
import { DOCKER_HUB, type RegistryCredentials } from '../../helper/protocol/index.ts';
import { type NamedImage, nameOf } from '../model/imageGroups.ts';
import type { RegistryLogins } from '../registryLogins.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import { followLayers } from './layerProgress.ts';
import { askReference } from './referenceBox.ts';
import type { CommandHandlers } from './registry.ts';
import { withLogin } from './registryLogin.ts';
import type { Targets } from './targets.ts';

export function pushCommand(services: Services, targets: Targets, logins: RegistryLogins): Pick<CommandHandlers, 'strata.image.push'> {
  return {
    'strata.image.push': async (args) => {
      const named = await targets.named(args, 'Push image');
      if (named === undefined) return;
      const reference = await askReference({
        title: `Push ${nameOf(named)}`,
        prompt:
          'Name in the registry: registry/name:tag, or user/name:tag on Docker Hub. Another name than it has becomes one more of its names.',
        value: named.reference ?? '',
        meaning: destinationWords,
      });
      if (reference !== undefined) await pushImage(services, logins, named, reference);
    },
  };
}

/** A short name is one of Docker Hub's own, where nobody else may push: that is worth saying before. */
function destinationWords({ reference, from }: { readonly reference: string; readonly from: string }): string {
  if (from !== DOCKER_HUB) return `${reference} to ${from}`;
  return reference.includes('/')
    ? `${DOCKER_HUB}/${reference} to Docker Hub`
    : `${DOCKER_HUB}/library/${reference} is Docker Hub's own: put your user name or a registry in front.`;
}

async function pushImage(services: Services, logins: RegistryLogins, { image }: NamedImage, reference: string): Promise<void> {
  if (!image.references.includes(reference)) await services.client.request('image.tag', { image: image.id, reference });
  const pushed = await withLogin(logins, { reference, what: `Push ${reference}` }, (credentials) => send(services, reference, credentials));
  if (pushed !== undefined) void vscode.window.showInformationMessage(`Pushed ${reference}.`);
}

async function send(
  { client }: Services,
  reference: string,
  credentials: RegistryCredentials | undefined,
): Promise<{ readonly digest: string }> {
  return await cancellable(`Pushing ${reference}`, async (signal, report) => {
    const { progress, stop } = followLayers(client, report);
    try {
      return await client.request('image.push', { reference, credentials, progress }, { signal });
    } finally {
      stop();
    }
  });
}
