import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeSupervisorFrame,
  type SupervisorFrame,
  SupervisorFrameReader,
  type SupervisorFrameType,
} from '../../../helper/containers/supervisorFrames.ts';

const frame = fc.record<SupervisorFrame>({
  type: fc.integer({ min: 1, max: 7 }) as fc.Arbitrary<SupervisorFrameType>, // its seven values
  session: fc.nat(0xffff_ffff),
  payload: fc.uint8Array({ maxLength: 200 }),
});

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map(encodeSupervisorFrame));
        const reader = new SupervisorFrameReader();
        const found: SupervisorFrame[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1;
          found.push(...reader.push(bytes.subarray(at, at + size)).map((item) => ({ ...item, payload: Uint8Array.from(item.payload) })));
          at += size;
        }
        expect(found).toEqual(frames);
      }),
    );
  });

  it('are refused when they are too large or of no known type', () => {
    const header = new Uint8Array(12);
    new DataView(header.buffer).setUint32(0, 0x7fff_ffff, true);
    header[4] = 2;
    expect(() => new SupervisorFrameReader().push(header)).toThrow(/not a frame/);
    expect(() => new SupervisorFrameReader().push(new Uint8Array([0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0]))).toThrow(/not a frame/);
    expect(() => encodeSupervisorFrame({ type: 4, session: 0, payload: new Uint8Array(1024 * 1024 + 1) })).toThrow(RangeError);
  });
});
