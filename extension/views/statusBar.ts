import * as vscode from 'vscode';
import { views } from '../contributions/views.ts';
import type { Services } from '../services.ts';

/** How many containers run, while any does: a way back to the view, and silent otherwise. */
export class StatusBar implements vscode.Disposable {
  readonly #services: Services;
  readonly #item = vscode.window.createStatusBarItem('strata.running', vscode.StatusBarAlignment.Left, 0);
  readonly #stop: () => void;

  constructor(services: Services) {
    this.#services = services;
    this.#item.name = 'Strata';
    this.#item.command = `${views.containers.id}.focus`;
    this.#stop = services.store.onChange(() => this.#draw());
    this.#draw();
  }

  dispose(): void {
    this.#stop();
    this.#item.dispose();
  }

  #draw(): void {
    const running = [...this.#services.store.state.containers.values()].filter((container) => container.state.kind === 'running').length;
    this.#item.text = `$(layers) ${running}`;
    this.#item.tooltip = `Strata: ${running} ${running === 1 ? 'container is' : 'containers are'} running`;
    this.#item.accessibilityInformation = { label: this.#item.tooltip };
    if (running === 0) this.#item.hide();
    else this.#item.show();
  }
}
