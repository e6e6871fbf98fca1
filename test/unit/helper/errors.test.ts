import { describe, expect, it } from 'vitest';
import { fromNative, fromSupervisor, hasCode } from '../../../helper/native/errors.ts';
import { StrataError } from '../../../helper/protocol/index.ts';

const native = (code: string, extra: object = {}) => Object.assign(new Error('read: it broke'), { code, errno: 5, ...extra });

describe('fromNative', () => {
  it.each([
    ['CORRUPT_ARCHIVE', 'ARCHIVE_CORRUPT'],
    ['UNSAFE_PATH', 'ARCHIVE_UNSAFE'],
    ['ENOSPC', 'NO_SPACE'],
    ['EBUSY', 'LIMIT_BELOW_USE'],
    ['LIMIT_REJECTED', 'LIMIT_INVALID'],
    ['UNSUPPORTED', 'FEATURE_MISSING'],
    ['EIO', 'RUNTIME_FAILED'],
  ])('%s is %s', (code, expected) => {
    const error = fromNative(native(code, { syscall: 'read', path: '/x' }), "read '/x'");
    expect(error).toMatchObject({
      code: expected,
      message: "read '/x': read: it broke",
      details: { errno: code, syscall: 'read', path: '/x' },
    });
  });
  it('takes a reading of the place first', () => {
    expect(fromNative(native('ENOENT'), 'x', { ENOENT: 'PATH_NOT_FOUND' }).code).toBe('PATH_NOT_FOUND');
  });
  it('keeps a hint that says more than the message', () => {
    expect(fromNative(native('EIO', { hint: 'buy a disk' }), 'x').hint).toBe('buy a disk');
    expect(fromNative(native('CORRUPT_ARCHIVE', { hint: 'it broke' }), 'x').hint).toMatch(/make it again/);
  });
  it('leaves a StrataError alone, and calls everything else INTERNAL', () => {
    const known = new StrataError('CANCELLED', 'x');
    expect(fromNative(known, 'y')).toBe(known);
    expect(fromNative(new TypeError('bug'), 'y').code).toBe('INTERNAL');
    expect(fromNative('text', 'y').code).toBe('INTERNAL');
  });
});

describe('fromSupervisor', () => {
  it.each([
    ['COMMAND_NOT_FOUND', 'COMMAND_NOT_FOUND'],
    ['WORKING_DIRECTORY', 'WORKING_DIRECTORY_INVALID'],
    ['KERNEL_FEATURE_MISSING', 'FEATURE_MISSING'],
    ['LIMIT_REJECTED', 'LIMIT_INVALID'],
    ['MOUNT_FAILED', 'RUNTIME_FAILED'],
    ['NEWER_THAN_WE_KNOW', 'RUNTIME_FAILED'],
  ])('%s is %s', (code, expected) => {
    expect(fromSupervisor({ code, message: 'm', errno: 2 }, 'start x')).toMatchObject({
      code: expected,
      message: 'start x: m',
      details: { supervisorCode: code, errno: 2 },
    });
  });
});

it('hasCode looks at the code alone', () => {
  expect(hasCode(native('ENOENT'), 'ENOENT')).toBe(true);
  expect(hasCode(new Error('ENOENT'), 'ENOENT')).toBe(false);
});
