import { describe, expect, it } from 'vitest';
import { ByteBudget } from '../../../helper/layers/byteBudget.ts';
import { type FindingRule, findingRules } from '../../../helper/layers/findingRules.ts';
import { findAll } from '../../../helper/layers/findings.ts';
import type { EntryMatch, LayerIndex } from '../../../helper/native/addon.ts';

/** An index that has found these for each rule, with the contents of its entries. */
function indexOf(
  matches: readonly EntryMatch[][],
  contents: readonly string[] = [],
): Pick<LayerIndex, 'select' | 'head' | 'isCopyOfBelow'> {
  return {
    select: () => Promise.resolve(matches.map((found) => ({ count: found.length, bytes: 10 * found.length, matches: found }))),
    head: (entry) => {
      const content = contents[entry];
      return content === undefined ? Promise.reject(new Error('gone')) : Promise.resolve(Buffer.from(content));
    },
    isCopyOfBelow: (entry) => Promise.resolve(entry === 0),
  };
}

const match = (entry: number, path = `/file-${entry}`): EntryMatch => ({
  entry,
  path,
  layer: 0,
  kind: 'file',
  mode: 0o644,
  bytes: 10,
  files: 1,
  seen: true,
});
const rule = (id: string, severity: FindingRule['severity'], contains?: RegExp): FindingRule => ({
  id,
  severity,
  query: {},
  ...(contains === undefined ? {} : { contains }),
  message: 'is there',
  remedy: 'Remove it.',
});
const { signal } = new AbortController();

describe('findings', () => {
  it('come worst first, and only where the content says so', async () => {
    const rules = [rule('small', 'low'), rule('secret', 'high', /token=\S/), rule('other', 'high', /never/)];
    const index = indexOf([[match(0)], [match(0), match(1), match(2)], [match(0)]], ['token=x', 'nothing']);
    const { findings, rules: found } = await findAll(index, signal, rules);
    expect(findings.map((finding) => [finding.rule, finding.path])).toEqual([
      ['secret', '/file-0'],
      ['small', '/file-0'],
    ]);
    expect(found).toEqual([
      { rule: 'secret', severity: 'high', count: 1, bytes: 10, more: false },
      { rule: 'small', severity: 'low', count: 1, bytes: 10, more: false },
    ]);
  });

  it('of copies are those that hold the same, and no more is read than the bytes that a check may read', async () => {
    const large = { ...match(0, '/large'), bytes: 600 * 1024 * 1024 };
    const { findings, rules } = await findAll(indexOf([[large, match(0), match(1)]]), signal, [{ ...rule('copy', 'low'), isCopy: true }]);
    expect(findings.map(({ path }) => path)).toEqual(['/file-0']);
    expect(rules).toEqual([{ rule: 'copy', severity: 'low', count: 1, bytes: 10, more: true }]);
  });

  it('are no more than a message can hold, and say so', async () => {
    const long = Array.from({ length: 90 }, (_, at) => match(at, `/${'é'.repeat(20_000)}${at}`));
    const { findings, rules } = await findAll(indexOf([long]), signal, [rule('long', 'low')]);
    expect(Buffer.byteLength(JSON.stringify(findings))).toBeLessThan(2.1 * 1024 * 1024);
    expect(findings.length).toBeGreaterThan(40);
    expect(rules[0]).toMatchObject({ count: 90, more: true });
    const budget = new ByteBudget(20);
    expect([budget.takeText({ path: 'far too long for it' }), budget.take(20), budget.take(1)]).toEqual([false, true, false]);
  });

  it('end when nobody waits for them', async () => {
    const gone = new AbortController();
    gone.abort();
    await expect(findAll(indexOf([[match(0)]]), gone.signal, [rule('any', 'low')])).rejects.toThrow(/abort/i);
  });
});

describe('the rules', () => {
  const contains = (id: string): RegExp => findingRules.find((found) => found.id === id)?.contains ?? /^$/;

  it('have ids of their own, and say what to do in one sentence', () => {
    const ids = findingRules.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { message, remedy } of findingRules) {
      expect(message).toMatch(/^[a-z].*[^.]$/);
      expect(remedy).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('are not slowed down by what an image brings', () => {
    const started = performance.now();
    const hostile = ['KEY', 'A ', '\n', ' ', '-----BEGIN A ', '://a:', '"auth" '].map((piece) => piece.repeat(16_384 / piece.length));
    for (const { contains: expression } of findingRules) for (const text of hostile) expression?.test(text);
    expect(performance.now() - started).toBeLessThan(500);
  });

  it.each([
    ['private-key', '-----BEGIN RSA PRIVATE KEY-----', '-----BEGIN CERTIFICATE-----'],
    ['private-key', 'x\n-----BEGIN ENCRYPTED PRIVATE KEY-----', '-----BEGIN PUBLIC KEY-----'],
    ['private-key', 'PuTTY-User-Key-File-2: ssh-rsa', 'about PuTTY-User-Key-File'],
    ['npm-token', '//registry.npmjs.org/:_authToken=npm_x', 'registry=https://registry.npmjs.org/'],
    ['pypi-password', '[pypi]\npassword = x', '[pypi]\nusername = __token__'],
    ['netrc', 'machine host login me password x', 'machine host login me'],
    ['git-credentials', 'https://me:secret@host', 'https://host/a:b'],
    ['aws-credentials', '[default]\naws_secret_access_key = x', '[default]\nregion = x'],
    ['registry-login', '{"auths":{"host":{"auth":"eA=="}}}', '{"auths":{"host":{}},"credsStore":"pass"}'],
    ['environment-file', 'export DB_PASSWORD="x"', 'DB_PASSWORD=\nPORT=80'],
    ['environment-file', 'A=1\nSTRIPE_API_KEY=sk', '# SECRET=x\nKEYBOARD=de'],
  ])('%s is found in %j and not in %j', (id, guilty, innocent) => {
    expect(contains(id).test(guilty)).toBe(true);
    expect(contains(id).test(innocent)).toBe(false);
  });
});
