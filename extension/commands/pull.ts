import * as vscode from 'vscode';
import { DOCKER_HUB, type ImageSummary, type RegistryCredentials } from '../../helper/protocol/index.ts';
import { hubPage, type NamedImage } from '../model/imageGroups.ts';
import { originWords } from '../model/pullQuestion.ts';
import type { RegistryLogins } from '../registryLogins.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import { followLayers } from './layerProgress.ts';
import { askReference } from './referenceBox.ts';
import type { CommandHandlers } from './registry.ts';
import { withLogin } from './registryLogin.ts';
import type { Targets } from './targets.ts';

export function pullCommands(
  services: Services,
  targets: Targets,
  logins: RegistryLogins,
): Pick<CommandHandlers, 'strata.image.pull' | 'strata.image.hub'> {
  return {
    'strata.image.pull': async (args) => {
      const reference =
        targets.nameOf(args[0]) ??
        (await askReference({
          title: 'Pull Image',
          prompt: `Name of the image: debian:12 is ${DOCKER_HUB}/library/debian:12, grafana/grafana is of Docker Hub too; or quay.io/podman/hello, localhost:5000/app:1.`,
          value: targets.repositoryOf(args[0]) ?? '',
          meaning: originWords,
        }));
      if (reference === undefined) return;
      const image = await pullImage(services, logins, reference);
      if (image !== undefined) void vscode.window.showInformationMessage(`Pulled ${reference}.`);
    },
    'strata.image.hub': async (args) => {
      const named =
        targets.nameOf(args[0]) ?? targets.repositoryOf(args[0]) ?? (await targets.named(args, 'Open on Docker Hub', isOfHub))?.reference;
      const page = named === undefined ? undefined : hubPage(named);
      if (page !== undefined) await vscode.env.openExternal(vscode.Uri.parse(page));
    },
  };
}

/** Undefined where the person gave up. */
export async function pullImage(services: Services, logins: RegistryLogins, reference: string): Promise<ImageSummary | undefined> {
  return await withLogin(logins, { reference, what: `Pull ${reference}` }, (credentials) =>
    withPullProgress(services, reference, credentials),
  );
}

async function withPullProgress(
  { client }: Services,
  reference: string,
  credentials: RegistryCredentials | undefined,
): Promise<ImageSummary> {
  return await cancellable(`Pulling ${reference}`, async (signal, report) => {
    const { progress, stop } = followLayers(client, report);
    try {
      return (await client.request('image.pull', { reference, credentials, progress }, { signal })).image;
    } finally {
      stop();
    }
  });
}

function isOfHub({ reference }: NamedImage): boolean {
  return reference !== undefined && hubPage(reference) !== undefined;
}
