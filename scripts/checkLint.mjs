// oxlint's typed rules come from a second program; when that is missing or does not understand a tsconfig it may find
// nothing and pass. A planted floating promise shows that it looks.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, inProject, npmTool } from './paths.mjs';
import { capture } from './setup/capture.mjs';

const plantedSource = `async function later(): Promise<void> {}\nlater();\n`;

export async function checkLintSeesPromises() {
  const folder = join(cacheDir, 'planted');
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(join(folder, 'floating.ts'), plantedSource);
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: inProject('tsconfig.base.json'), include: ['*.ts'] }));
    const config = join(folder, 'oxlintrc.json');
    writeFileSync(config, JSON.stringify({ plugins: ['typescript'], rules: { 'typescript/no-floating-promises': 'error' } }));
    const args = ['--type-aware', '--no-ignore', '--config', config, join(folder, 'floating.ts')];
    const { status, output } = await capture(npmTool('oxlint'), args);
    if (status !== 0 && output.includes('no-floating-promises')) return [];
    return [`oxlint does not see a planted floating promise:\n${output}`];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
