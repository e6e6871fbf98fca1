import { spawnSync } from 'node:child_process';

/**
 * Makes our terminal raw; gives back how to undo that. Node's raw mode leaves the terminal's own output processing on
 * (libuv keeps ONLCR), and then a full-screen program's bytes would not arrive as they are: the container's terminal has
 * done that already. termios is out of Node's reach, so stty(1) turns it off; without one the rest works.
 */
export function makeRaw(terminal: NodeJS.ReadStream): () => void {
  const before = stty('-g');
  terminal.setRawMode(true);
  stty('-opost');
  return () => {
    terminal.setRawMode(false);
    if (before !== undefined && before !== '') stty(before);
  };
}

/** What it prints; undefined where it failed. It works on its standard input. */
function stty(argument: string): string | undefined {
  const result = spawnSync('stty', [argument], { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : undefined;
}
