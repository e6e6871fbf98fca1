import type { Command } from 'commander';
import { formatBytes, type MethodResult, PROTOCOL_VERSION } from '../../protocol/index.ts';
import { VERSION } from '../../version.ts';
import type { Connection } from '../../wire/connection.ts';
import { type Context, containerElseImage, forEach, print, printJson, withConnection } from '../context.ts';
import { table } from '../output.ts';

export function addHostCommands(program: Command, context: () => Context): void {
  program
    .command('info')
    .description('versions, kernel features and cgroups of the host')
    .option('--json', 'as JSON')
    .action(async (flags: { json?: true }) => {
      const info = await withConnection(context(), (connection) => connection.request('host.info', {}));
      if (flags.json === true) {
        printJson(info);
        return;
      }
      const rows = [
        ['Helper', `${info.helperVersion} (protocol ${info.protocolVersion}, Node ${info.nodeVersion})`],
        ['Runtime', info.runtimeVersion],
        ['Kernel', `${info.kernelRelease} on ${info.architecture}`],
        ['Cpus', String(info.cpus)],
        ['Memory', formatBytes(info.memoryBytes)],
        ['Cgroups', `${info.cgroup.mode}: ${info.cgroup.controllers.join(', ')}`],
        ['Swap is counted', info.cgroup.swapAccounting ? 'yes' : 'no'],
        ['Pressure (PSI)', info.cgroup.psi ? 'yes' : 'no'],
        ['Data', info.paths.root],
        ['Socket', info.paths.socket],
      ];
      print(rows.map(([name = '', value = '']) => `${`${name}:`.padEnd(18)}${value}\n`).join(''));
      print(
        `\n${table(
          ['KERNEL FEATURE', 'AVAILABLE', ''],
          info.features.map((f) => [f.name, f.available ? 'yes' : 'no', f.detail]),
        )}`,
      );
      for (const warning of info.warnings) print(`\nwarning: ${warning}\n`);
    });
  program
    .command('inspect')
    .description('all about containers or images, as JSON')
    .argument('<names...>')
    .option('--json', 'as JSON (it always is)')
    .action(async (names: string[]) => {
      await forEach(context(), names, { json: 'pretty', act: inspect });
    });
  program
    .command('version')
    .description('versions of this command and of the helper')
    .option('--json', 'as JSON')
    .action(async (flags: { json?: true }) => {
      const client = { version: VERSION, protocol: `${PROTOCOL_VERSION.major}.${PROTOCOL_VERSION.minor}` };
      // The client's own is known without a helper.
      if (flags.json !== true) print(`Client: ${client.version} (protocol ${client.protocol})\n`);
      const info = await withConnection(context(), (connection) => connection.request('host.info', {}));
      const helper = { version: info.helperVersion, protocol: info.protocolVersion, runtime: info.runtimeVersion, node: info.nodeVersion };
      if (flags.json === true) printJson({ client, helper });
      else print(`Helper: ${helper.version} (protocol ${helper.protocol}, runtime ${helper.runtime}, Node ${helper.node})\n`);
    });
}

async function inspect(connection: Connection, name: string) {
  return await containerElseImage<MethodResult<'container.inspect'> | MethodResult<'image.inspect'>>(
    name,
    () => connection.request('container.inspect', { container: name }),
    () => connection.request('image.inspect', { image: name }),
  );
}
