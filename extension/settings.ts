import * as vscode from 'vscode';
import { DEFAULT_SOCKET_PATH } from '../helper/protocol/index.ts';
import { settings } from './contributions/settings.ts';

/** The settings as the code wants them; defaults and bounds are those of contributions/settings.ts. */
export interface Settings {
  readonly socketPath: string;
  readonly startCommand: string;
  readonly shell: string;
  readonly logTail: number;
  readonly logLines: number;
  readonly logTimes: boolean;
  readonly statsIntervalMs: number;
}

/** A settings file is written by hand: what has the wrong type or is out of range falls back. */
export function readSettings(): Settings {
  const configuration = vscode.workspace.getConfiguration('strata');
  const text = (key: string): string => {
    const value = configuration.get<unknown>(key);
    return typeof value === 'string' ? value.trim() : '';
  };
  const amount = ({ key, schema }: { key: string; schema: { default: number; minimum: number; maximum: number } }): number => {
    const value = configuration.get<unknown>(key);
    return typeof value === 'number' && Number.isFinite(value) ? Math.min(Math.max(value, schema.minimum), schema.maximum) : schema.default;
  };
  return {
    socketPath: text(settings.socketPath.key) || DEFAULT_SOCKET_PATH,
    startCommand: text(settings.startCommand.key),
    shell: text(settings.shell.key),
    logTail: Math.trunc(amount(settings.logTail)),
    logLines: Math.trunc(amount(settings.logLines)),
    logTimes: configuration.get<unknown>(settings.logTimes.key) !== false,
    statsIntervalMs: Math.round(amount(settings.statsInterval) * 1000),
  };
}
