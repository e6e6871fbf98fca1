import { beforeEach, expect, it, vi } from 'vitest';

/** What of VS Code a drag and a drop use. */
vi.mock('vscode', () => ({
  DataTransferItem: class {
    readonly value: string;
    constructor(value: string) {
      this.value = value;
    }
    asString(): Promise<string> {
      return Promise.resolve(this.value);
    }
  },
  Uri: { parse: (text: string) => new URL(text) },
}));

import { type DataTransfer, DataTransferItem, type Uri } from 'vscode';
import { type DropPlace, FileDrop } from '../../../extension/views/fileDrop.ts';
import { containerIdSchema } from '../../../helper/protocol/index.ts';

const container = containerIdSchema.parse('a'.repeat(32));
const dropped: { readonly uris: readonly string[]; readonly place: DropPlace }[] = [];
beforeEach(() => {
  dropped.length = 0;
});

const drop = new FileDrop<string>({
  placeOf: (node) => (node === 'layer' ? undefined : { container, path: node }),
  drop: (uris, place) => dropped.push({ uris: uris.map(String), place }),
  uriOf: (node) => (node.startsWith('/') ? ({ toString: () => `strata-layer://upper${node}` } as Uri) : undefined),
});

function transferOf(text?: string): DataTransfer {
  const items = new Map(text === undefined ? [] : [['text/uri-list', new DataTransferItem(text)]]);
  return items as unknown as DataTransfer; // which has get and set as a Map does, and these are all that are used
}

it('takes files that are dropped on a place in a container, and nothing else', async () => {
  await drop.handleDrop('/srv', transferOf('file:///a\r\nfile:///b%20c'));
  expect(dropped).toEqual([{ uris: ['file:///a', 'file:///b%20c'], place: { container, path: '/srv' } }]);
  await drop.handleDrop('layer', transferOf('file:///a'));
  await drop.handleDrop(undefined, transferOf('file:///a'));
  await drop.handleDrop('/srv', transferOf());
  await drop.handleDrop('/srv', transferOf('# nothing'));
  expect(dropped).toHaveLength(1);
});

it('gives the files of rows that are dragged', async () => {
  const transfer = transferOf();
  drop.handleDrag(['/etc/motd', 'layer', '/etc/hosts'], transfer);
  expect(await transfer.get('text/uri-list')?.asString()).toBe('strata-layer://upper/etc/motd\r\nstrata-layer://upper/etc/hosts');
  expect(drop.dragMimeTypes).toEqual(['text/uri-list']);
  const nothing = transferOf();
  drop.handleDrag(['layer'], nothing);
  expect(nothing.get('text/uri-list')).toBeUndefined();
  expect(new FileDrop({ placeOf: () => undefined, drop: () => {} }).dragMimeTypes).toEqual([]);
});
