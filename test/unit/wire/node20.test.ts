import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as http from 'node:http';
import * as os from 'node:os';
import * as path from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { PROTOCOL_VERSION } from '../../../helper/protocol/index.ts';
import { Connection } from '../../../helper/wire/connection.ts';
import { bundleOptions } from '../../../scripts/setup/bundles.mjs';

/**
 * The extension hosts of engines.vscode run Node 20. What the extension's own sources use of a newer one their types
 * refuse (lib, extension/tsconfig.json); this tells of the packages that are bundled with them, too.
 */
const newerThanNode20 = `
  delete Promise.withResolvers; delete Promise.try; delete Object.groupBy; delete Map.groupBy; delete Array.fromAsync;
  delete Error.isError; delete RegExp.escape; delete Math.sumPrecise; delete Uint8Array.fromBase64; delete Uint8Array.fromHex;
  for (const name of ['union', 'intersection', 'difference', 'isSubsetOf', 'isSupersetOf', 'isDisjointFrom']) delete Set.prototype[name];
  const iterator = Object.getPrototypeOf(Object.getPrototypeOf([].values()));
  for (const name of Object.getOwnPropertyNames(iterator)) if (name !== 'constructor') delete iterator[name];
  for (const name of ['Iterator', 'WebSocket', 'navigator', 'CloseEvent', 'localStorage', 'Float16Array']) delete globalThis[name];
  delete ArrayBuffer.prototype.resize; delete ArrayBuffer.prototype.transfer; delete String.prototype.isWellFormed;
`;

let directory: string;
let server: http.Server;
beforeEach(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'strata-node20-'));
  server = http.createServer();
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await fs.rm(directory, { recursive: true });
});

it("the extension's end of the wire needs nothing newer than Node 20", async () => {
  const socketPath = path.join(directory, 'helper.sock');
  new WebSocketServer({ server }).on('connection', (socket) => {
    const answer = { protocol: PROTOCOL_VERSION, helperVersion: '1', role: 'control', capabilities: [] };
    new Connection(socket, { allocatesStreams: true }).onRequest((method) =>
      Promise.resolve(method === 'hello' ? answer : { containers: [] }),
    );
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));

  const outfile = path.join(directory, 'wire.cjs');
  await build({
    ...bundleOptions('extension'),
    entryPoints: ['helper/wire/connect.ts'],
    outfile,
    sourcemap: false,
    minifyWhitespace: false,
  });
  const script = `${newerThanNode20}
    const { connect } = require(${JSON.stringify(outfile)});
    (async () => {
      const { connection, hello } = await connect({ socketPath: ${JSON.stringify(socketPath)}, client: { name: 'old', version: '0' } });
      const listed = await connection.request('container.list', { all: true });
      connection.close();
      process.stdout.write(JSON.stringify([hello.role, listed]));
    })();`;
  expect(await output(process.execPath, ['-e', script])).toBe('["control",{"containers":[]}]');
});

function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    child.once('close', () => resolve(text));
  });
}
