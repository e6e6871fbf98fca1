#!/usr/bin/env node
// npm start: set-up, helper, VS Code. Ctrl-C ends all that was started here; containers go on running.
import { parseArgs } from 'node:util';
import { goals } from './setup/steps.mjs';
import { setupOrExit } from './setup.mjs';
import { openBrowserWorkbench } from './start/browserWorkbench.mjs';
import { desktopCommand, openDesktop } from './start/desktop.mjs';
import { ensureHelper, startCommandLine, withAbsolutePaths } from './start/helper.mjs';

const usage = `npm start -- [options]
  --no-ui              the helper alone, in the foreground, for scripts
  --browser            the browser workbench, even where there is a desktop VS Code
  --port PORT          of the browser workbench (8713, or any free one)
  --root DIR           where images and containers are kept (/var/lib/strata)
  --run DIR            sockets and other things of this boot (/run/strata)
  --socket PATH        the helper's socket (strata.sock in the run directory)
  --log-level LEVEL    of the helper (info)
  --cgroup-parent PATH cgroup below which containers live (/strata)`;

function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        help: { type: 'boolean', short: 'h' },
        'no-ui': { type: 'boolean' },
        browser: { type: 'boolean' },
        port: { type: 'string' },
        root: { type: 'string' },
        run: { type: 'string' },
        socket: { type: 'string' },
        'log-level': { type: 'string' },
        'cgroup-parent': { type: 'string' },
      },
    });
    return withAbsolutePaths(values);
  } catch (error) {
    console.error(`${error.message}\n\n${usage}`);
    process.exit(2);
  }
}

/** What was started, last first: each has `stop()`, and `ended`, which resolves with the reason when it ends by itself. */
const started = [];
let isStopping = false;

async function stopAll(exitCode) {
  if (isStopping) process.exit(exitCode); // a second Ctrl-C: do not wait
  isStopping = true;
  for (const part of started.toReversed()) await part.stop();
  process.exit(exitCode);
}

function keep(part) {
  started.push(part);
  void part.ended.then((reason) => {
    if (isStopping) return;
    console.error(`[start] ${reason}`);
    void stopAll(1);
  });
  return part;
}

const options = parseOptions();
if (options.help) {
  console.log(usage);
  process.exit(0);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => void stopAll(0));

const desktop = options['no-ui'] || options.browser ? undefined : desktopCommand();
const userInterface = options['no-ui'] ? 'helper' : desktop ? 'desktop' : 'browser';
if (!(userInterface in goals)) throw new Error(`no set-up goal '${userInterface}'`);
await setupOrExit(userInterface);

try {
  const helper = await ensureHelper(options, { inForeground: options['no-ui'] === true });
  if (helper.wasRunning) console.log(`[start] a helper already answers on ${helper.socket}: using it, and leaving it alone at the end`);
  else keep(helper);

  if (userInterface === 'desktop') await openDesktop(desktop, { socket: helper.socket, startCommand: startCommandLine(options) });
  if (userInterface === 'browser') {
    const workbench = keep(
      await openBrowserWorkbench({ socket: helper.socket, startCommand: startCommandLine(options), port: options.port }),
    );
    console.log(`\n  Strata is open at  ${workbench.url}\n  password           ${workbench.password}\n`);
  }
  if (started.length > 0) console.log('[start] Ctrl-C ends what was started here; containers go on running');
  // Nothing of ours runs (desktop or --no-ui beside a helper that was there): then there is nothing to wait for.
} catch (error) {
  console.error(`[start] ${error.message}`);
  await stopAll(1);
}
