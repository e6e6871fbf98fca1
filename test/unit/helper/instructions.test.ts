import { describe, expect, it } from 'vitest';
import { createdTime } from '../../../helper/cli/createdTime.ts';
import { childConfig } from '../../../helper/images/childConfig.ts';
import { applyInstructions, type RuntimeConfig } from '../../../helper/images/instructions.ts';
import { instructionWords } from '../../../helper/images/instructionWords.ts';
import type { ImageConfig } from '../../../helper/protocol/index.ts';
import { digestSchema } from '../../../helper/protocol/index.ts';

describe('instructionWords', () => {
  const words = (text: string) => instructionWords(text, (name) => ({ A: 'one', B: 'two words' })[name]);

  it.each<[string, string[] | undefined]>([
    ['', []],
    ['a  b\tc', ['a', 'b', 'c']],
    ['a="b c" d', ['a=b c', 'd']],
    ['\'$A\' "$A" $A', ['$A', 'one', 'one']],
    ['$B/x', ['two words/x']],
    ['${A}b ${C:-else} ${C:+then} ${A:+then} ${C}', ['oneb', 'else', '', 'then', '']],
    ['a\\ b \\$A "\\$A \\n"', ['a b', '$A', '$A \\n']],
    ['"" $', ['', '$']],
    ['"open', undefined],
  ])('%j', (text, expected) => {
    expect(words(text)).toEqual(expected);
  });
});

describe('applyInstructions', () => {
  const base: RuntimeConfig = { Env: ['PATH=/bin', 'A=1'], Cmd: ['sh'], WorkingDir: '/srv', Shell: ['/bin/ash', '-c'], kept: 1 };

  it.each<[string, RuntimeConfig]>([
    ['CMD echo $A', { Cmd: ['/bin/ash', '-c', 'echo $A'] }],
    ['ENV A=2 C="3 4"', { Env: ['PATH=/bin', 'A=2', 'C=3 4'] }],
    ['ENV A old form $PATH', { Env: ['PATH=/bin', 'A=old form /bin'] }],
    ['EXPOSE 80-82/UDP 9', { ExposedPorts: { '80/udp': {}, '81/udp': {}, '82/udp': {}, '9/tcp': {} } }],
    ['VOLUME ["/a b", "/c"]', { Volumes: { '/a b': {}, '/c': {} } }],
    ['workdir ../opt/$A', { WorkingDir: '/opt/1' }],
    ['STOPSIGNAL SIGQUIT', { StopSignal: 'SIGQUIT' }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
    ['HEALTHCHECK --start-period=1m30s CMD ["a", "b"]', { Healthcheck: { Test: ['CMD', 'a', 'b'], StartPeriod: 90e9 } }],
    ['ONBUILD RUN make', { OnBuild: ['RUN make'] }],
  ])('%s', (text, expected) => {
    expect(applyInstructions(base, [text])).toEqual({ ...base, ...expected });
  });

  it('takes the old arguments from a new entrypoint', () => {
    expect(applyInstructions(base, ['ENTRYPOINT ["/init"]'])).not.toHaveProperty('Cmd');
    expect(applyInstructions(base, ['ENTRYPOINT ["/init"]', 'CMD ["x"]'])).toMatchObject({ Entrypoint: ['/init'], Cmd: ['x'] });
  });

  it.each([
    '',
    'RUN x',
    'CMD',
    'ENV',
    'ENV =x',
    'ENV A="',
    'EXPOSE http',
    'EXPOSE 9-8',
    'EXPOSE 70000',
    'USER a b',
    'STOPSIGNAL NO',
    'HEALTHCHECK curl',
    'HEALTHCHECK --interval=x CMD y',
  ])('refuses %j', (text) => {
    expect(() => applyInstructions(base, [text])).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }) as Error);
  });
});

describe('childConfig', () => {
  const digest = (digit: string) => digestSchema.parse(`sha256:${digit.repeat(64)}`);
  const parent: ImageConfig = {
    architecture: 'amd64',
    os: 'linux',
    variant: 'v2',
    container: 'of the parent',
    rootfs: { type: 'layers', diff_ids: [digest('1'), digest('2')] },
    history: [{ created_by: 'two' }, { created_by: 'ENV', empty_layer: true }],
  };
  const step = { created: '2026-01-02T03:04:05Z', createdBy: 'sh', author: undefined, comment: 'why' };

  it('tells of each layer', () => {
    expect(childConfig(parent, { Cmd: ['x'] }, digest('3'), step)).toEqual({
      architecture: 'amd64',
      os: 'linux',
      variant: 'v2',
      created: step.created,
      config: { Cmd: ['x'] },
      rootfs: { type: 'layers', diff_ids: [digest('1'), digest('2'), digest('3')] },
      history: [
        { comment: 'nothing is known of how this layer was made' },
        { created_by: 'two' },
        { created_by: 'ENV', empty_layer: true },
        { created: step.created, created_by: 'sh', comment: 'why' },
      ],
    });
  });

  it('says of a step that it made no layer', () => {
    const { rootfs, history } = childConfig(parent, {}, undefined, step);
    expect(rootfs).toEqual(parent.rootfs);
    expect(history?.at(-1)).toMatchObject({ empty_layer: true });
  });
});

describe('createdTime', () => {
  it.each<[string | undefined, string | undefined, string | undefined]>([
    [undefined, undefined, undefined],
    [undefined, '', undefined],
    [undefined, '1000000000', '2001-09-09T01:46:40.000Z'],
    ['0', '1000000000', '1970-01-01T00:00:00.000Z'],
    ['2026-01-31T12:00:00+02:00', undefined, '2026-01-31T10:00:00.000Z'],
  ])('%s and %s', (flag, epoch, expected) => {
    expect(createdTime(flag, epoch)).toBe(expected);
  });

  it('refuses what is no time', () => {
    expect(() => createdTime('soon', undefined)).toThrow('--created "soon" is no time');
    expect(() => createdTime(undefined, '1e3')).toThrow('SOURCE_DATE_EPOCH');
  });
});
