import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameReader } from '../../../activities/engine/frame-reader.js';
import { type Frame, frameHead } from '../../../activities/engine/protocol.js';

const frame = fc.record({
  header: fc.record({ text: fc.string() }),
  blobs: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }),
});

test('frames come out as they went in, however the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (frames, cuts) => {
        const stream = Buffer.concat(frames.flatMap(({ header, blobs }) => [frameHead(header, blobs), ...blobs]));
        const received: Frame<{ text: string }>[] = [];
        const reader = new FrameReader<{ text: string }>((complete) => received.push(complete));
        for (let offset = 0, i = 0; offset < stream.length; i += 1) {
          const size = cuts[i % cuts.length] ?? 1;
          reader.push(stream.subarray(offset, offset + size));
          offset += size;
        }
        expect(received).toEqual(frames);
      },
    ),
  );
});
