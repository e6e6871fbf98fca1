import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { commands } from '../../../extension/contributions/commands.ts';
import { manifestContributes } from '../../../extension/contributions/manifest.ts';
import { settings } from '../../../extension/contributions/settings.ts';
import { views } from '../../../extension/contributions/views.ts';

const project = join(import.meta.dirname, '../../..');
const contributes = z
  .object({
    menus: z.record(z.string(), z.array(z.object({ command: z.string(), when: z.string().optional() }))),
    viewsWelcome: z.array(z.object({ view: z.string(), contents: z.string(), when: z.string() })),
    viewsContainers: z.object({ activitybar: z.array(z.object({ icon: z.string() })) }),
  })
  .parse(manifestContributes());

describe('the manifest', () => {
  it('gives every view words for each state of the helper', () => {
    for (const { id } of Object.values(views)) {
      const conditions = contributes.viewsWelcome.filter(({ view }) => view === id).map(({ when }) => when);
      expect(conditions.some((when) => when.startsWith('strata.state == connected'))).toBe(true);
    }
    const states = ['connecting', 'connected', 'notInstalled', 'notRunning', 'notPermitted', 'incompatible', 'tooLarge', 'unsupportedHost'];
    const covered = contributes.viewsWelcome
      .filter(({ view }) => view === views.containers.id)
      .map(({ when }) => when.replace('strata.state == ', '').replace(/ && .*/, ''));
    expect([...new Set(covered)].toSorted()).toEqual(states.toSorted());
  });

  it('does not offer what would delete without a question', () => {
    const restart = (contributes.menus['view/item/context'] ?? []).find(({ command }) => command === 'strata.container.restart');
    expect(restart?.when).toContain('!(viewItem =~ /\\bautoRemove\\b/)');
  });

  it('offers another try wherever a helper may come', () => {
    const waits = /== (notInstalled|notRunning|notPermitted|incompatible|tooLarge)/;
    const waiting = contributes.viewsWelcome.filter(({ view, when }) => view === views.containers.id && waits.test(when));
    expect(waiting).toHaveLength(7);
    for (const { contents } of waiting) expect(contents).toContain('(command:strata.refresh)');
  });

  it('links to commands that exist', () => {
    const links = contributes.viewsWelcome.flatMap(({ contents }) => [...contents.matchAll(/command:(strata[\w.]+)/g)].map(([, id]) => id));
    expect(links.length).toBeGreaterThan(0);
    for (const link of links) expect(Object.keys(commands)).toContain(link);
  });

  it('lets no workspace set anything', () => {
    for (const { key, schema } of Object.values(settings))
      expect([key, schema.scope]).toEqual([key, expect.stringMatching(/^(machine|application)$/)]);
  });

  it('has its icon, in one colour', () => {
    const icon = contributes.viewsContainers.activitybar[0]?.icon ?? '';
    expect(existsSync(join(project, icon))).toBe(true);
    expect(new Set(readFileSync(join(project, icon), 'utf8').match(/#[0-9a-f]{3,6}/gi))).toHaveProperty('size', 1);
  });
});
