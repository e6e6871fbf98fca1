import * as vscode from 'vscode';
import { type CommandId, commands } from '../contributions/commands.ts';
import type { ErrorReporter } from '../errors.ts';

export type CommandHandler = (args: readonly unknown[]) => Promise<void> | void;
export type CommandHandlers = Readonly<Record<CommandId, CommandHandler>>;

/** Registers every command of the manifest; one without a handler does not compile. */
export function registerCommands(handlers: CommandHandlers, errors: ErrorReporter): vscode.Disposable {
  const ids = Object.keys(commands) as CommandId[]; // Object.keys loses the key type
  return vscode.Disposable.from(
    ...ids.map((id) =>
      vscode.commands.registerCommand(id, (...args: unknown[]) =>
        errors.guard(commands[id].title.replace('…', ''), async () => handlers[id](args)),
      ),
    ),
  );
}
