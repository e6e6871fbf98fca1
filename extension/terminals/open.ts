import * as vscode from 'vscode';
import { StreamTerminal, type TerminalPlan } from './streamTerminal.ts';

export function openTerminal(name: string, icon: string, plan: TerminalPlan): vscode.Terminal {
  const terminal = vscode.window.createTerminal({
    name,
    iconPath: new vscode.ThemeIcon(icon),
    pty: new StreamTerminal(plan),
    isTransient: true, // after a reload of the window there is no session to come back to
  });
  terminal.show();
  return terminal;
}
