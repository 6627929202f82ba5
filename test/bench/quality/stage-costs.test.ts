import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LocalStore } from '../../../activities/store/local-store.js';
import { ActivityCosts, totalCost } from '../../../bench/quality/stage-costs.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-costs-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const worked = { reused: false, seconds: 12, summary: 'something' };
const now = { isComplete: true, engineBytes: 5e8 };

describe('what activities cost', () => {
  it('is known again when their result is reused, and unknown when another program did the work', async () => {
    const store = await LocalStore.open(folder);
    const costs = new ActivityCosts(store, { threads: 2 });
    expect(await costs.of('train', worked, now)).toEqual({ seconds: 12, ...now });
    const later = new ActivityCosts(store, { threads: 2 });
    const reused = { ...worked, reused: true, seconds: 0 };
    expect(await later.of('train', reused, { isComplete: true, engineBytes: null })).toEqual({ seconds: 12, ...now });
    const other = { ...reused, summary: 'something else' };
    expect(await later.of('train', other, now)).toEqual({ seconds: 0, isComplete: false, engineBytes: null });
    expect(await new ActivityCosts(store, { threads: 4 }).of('train', reused, now)).toMatchObject({
      isComplete: false,
    });
  });

  it('adds up: seconds, the largest engine, and whether all of it is known', () => {
    const cost = (seconds: number, engineBytes: number | null, isComplete = true) => ({
      seconds,
      engineBytes,
      isComplete,
    });
    expect(totalCost([cost(1, null), cost(2, 7), cost(3, 5)])).toEqual(cost(6, 7));
    expect(totalCost([cost(1, 1), cost(2, 2, false)]).isComplete).toBe(false);
    expect(totalCost([])).toEqual(cost(0, null));
  });
});
