import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { listenForInterruption, SAME_PRESS_MS } from '../../cli/stop-watching.js';
import { untilInterrupted } from '../../cli/until-interrupted.js';

const ignore = (): void => undefined;

beforeEach(() => {
  vi.useFakeTimers();
  process.on('SIGINT', ignore);
});

afterEach(() => {
  process.off('SIGINT', ignore);
  vi.useRealTimers();
});

async function meaningOf(...waits: number[]): Promise<{ meaning: string; told: number }> {
  let told = 0;
  const interruption = listenForInterruption(() => {
    told++;
  });
  process.emit('SIGINT');
  for (const wait of waits) {
    await vi.advanceTimersByTimeAsync(wait);
    process.emit('SIGINT');
  }
  await vi.advanceTimersByTimeAsync(10_000);
  const meaning = await interruption.requested;
  interruption.dispose();
  return { meaning, told };
}

test('one Ctrl-C stops watching, a second one cancels', async () => {
  expect(await meaningOf()).toEqual({ meaning: 'detach', told: 1 });
  expect(await meaningOf(1_000)).toEqual({ meaning: 'cancel', told: 1 });
});

test('one Ctrl-C that npx passes on as well is still one', async () => {
  expect(await meaningOf(1)).toEqual({ meaning: 'detach', told: 1 });
  expect(await meaningOf(1, SAME_PRESS_MS)).toEqual({ meaning: 'cancel', told: 1 });
});

test('work that Ctrl-C ends cleans up, though the signal comes twice', async () => {
  const listeners = process.listenerCount('SIGINT');
  const ended = untilInterrupted(async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    process.emit('SIGINT');
    expect(process.listenerCount('SIGINT')).toBeGreaterThan(listeners);
    await vi.advanceTimersByTimeAsync(SAME_PRESS_MS);
    expect(process.listenerCount('SIGINT')).toBe(listeners);
    return 0;
  });
  process.emit('SIGINT');
  expect(await ended).toBe(130);
});
