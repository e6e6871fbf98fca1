import { describe, expect, it } from 'vitest';
import { ShellMemory } from '../../../extension/model/shellMemory.ts';
import { parseShellProbe, shellChoiceWords } from '../../../extension/model/shellProbe.ts';

describe('what a container says it has', () => {
  it('is its shells and its users', () => {
    const output = 'shell /bin/bash\nshell /bin/sh\nuser root:x:0:0:root:/root:/bin/sh\nuser www-data:x:33:33::/var/www:/bin/false\n';
    expect(parseShellProbe(output)).toEqual({
      shells: ['/bin/bash', '/bin/sh'],
      users: [
        { name: 'root', uid: 0, home: '/root' },
        { name: 'www-data', uid: 33, home: '/var/www' },
      ],
    });
  });

  it('may be anything', () => {
    const output = `shell relative\nshell /a b\nuser short:x:1\nuser :x:1:1:::\nuser \x1b[31mred\x1b[0m:x:7:7::/:\n${'user u:x:1:1::/:\n'.repeat(1000)}\0\0`;
    const { shells, users } = parseShellProbe(output);
    expect(shells).toEqual([]);
    expect(users).toHaveLength(200);
    expect(users[0]).toEqual({ name: 'red', uid: 7, home: '/' });
  });
});

describe('how a shell was opened last', () => {
  const memory = (stored: Record<string, unknown> = {}): ShellMemory => {
    const held = new Map(Object.entries(stored));
    return new ShellMemory({
      get: (key) => held.get(key),
      update: (key, value) => {
        held.set(key, value);
        return Promise.resolve();
      },
    });
  };

  it('is kept for each image', () => {
    const shells = memory();
    shells.remember('debian', { shell: '/bin/bash', user: 'www-data', workingDirectory: '/srv' });
    shells.remember('busybox', { shell: '/bin/sh' });
    expect(shells.last('debian')).toEqual({ shell: '/bin/bash', user: 'www-data', workingDirectory: '/srv' });
    expect(shells.last('busybox')).toEqual({ shell: '/bin/sh' });
    expect(shells.last('alpine')).toBeUndefined();
  });

  it('is forgotten where what is stored makes no sense, or is very old', () => {
    expect(memory({ 'strata.shells': [['debian', { shell: 7 }]] }).last('debian')).toBeUndefined();
    const shells = memory();
    for (let image = 0; image < 120; image += 1) shells.remember(`image-${image}`, { shell: '/bin/sh' });
    expect(shells.last('image-0')).toBeUndefined();
    expect(shells.last('image-119')).toEqual({ shell: '/bin/sh' });
  });

  it('has words', () => {
    expect(shellChoiceWords({ shell: '/bin/bash', user: '1000', workingDirectory: '/srv' })).toBe('/bin/bash as 1000 in /srv');
    expect(shellChoiceWords({ shell: '/bin/sh' })).toBe('/bin/sh');
  });
});
