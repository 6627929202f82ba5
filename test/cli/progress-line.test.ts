import { describe, expect, it } from 'vitest';
import { estimateRun } from '../../cli/estimate-run.js';
import { durationText, progressLine } from '../../cli/progress-line.js';
import { recipeSchema } from '../../contracts/recipe.js';
import type { RunProgress } from '../../contracts/run-summary.js';
import type { Progress } from '../../contracts/stages.js';

const row = { summary: '', seconds: 0 };
const progress: RunProgress = {
  schemaVersion: 1,
  done: 1,
  total: 3,
  stages: [
    { ...row, id: 'import', stage: 'import', title: 'import tiny', state: 'done' },
    { ...row, id: 'sample', stage: 'sample', title: 'sample 8 trajectories', state: 'running' },
    { ...row, id: 'report', stage: 'report', title: 'write out', state: 'pending' },
  ],
};
const inside: Progress = {
  stage: 'sample',
  done: 5,
  total: 8,
  unit: 'trajectories',
  rate: 0.25,
  etaSeconds: 12,
  resumedAt: null,
  note: 'batch 2',
  checkpoint: null,
};

describe('the progress line', () => {
  it('says stage k of n, items, rate and remaining time', () => {
    expect(progressLine(progress, inside)).toBe(
      'stage 2 of 3: sample 8 trajectories · 5/8 trajectories · 0.25 trajectories/s · ETA 12 s · batch 2',
    );
  });

  it('says how many shards of an evaluation are done, and what its activities tell', () => {
    const evaluating = { ...row, id: 'evaluate', stage: 'evaluate' as const, title: 'evaluate the shipped pipeline' };
    const stages = [{ ...evaluating, state: 'running' as const, summary: '1 of 4 shards' }];
    const line = progressLine({ ...progress, stages }, { ...inside, stage: 'pictures', unit: 'pictures' });
    expect(line).toContain('evaluate the shipped pipeline · 1 of 4 shards · 5/8 pictures');
  });

  it('leaves out what is not known, and what another stage told', () => {
    expect(progressLine(progress, null)).toBe('stage 2 of 3: sample 8 trajectories');
    expect(progressLine(progress, { ...inside, stage: 'import' })).toBe('stage 2 of 3: sample 8 trajectories');
  });

  it('says where a repeated attempt went on from', () => {
    expect(progressLine(progress, { ...inside, resumedAt: 3 })).toContain(' · ETA 12 s · went on from 3 · batch 2');
  });

  it('writes durations as people do', () => {
    expect([45, 200, 7500].map(durationText)).toEqual(['45 s', '3 min 20 s', '2 h 5 min']);
  });
});

describe('the estimate of a run', () => {
  const phases = [{ name: 'a', layers: ['linear' as const], steps: 100 }];
  const recipe = recipeSchema.parse({ finetuning: { phases } });
  const probe = { secondsPerRow: [0.01, 0.02] as const, engineBytes: 1e8 };

  it('is a range, grows with the work and with slower runs', () => {
    const estimate = estimateRun(recipe, probe, true);
    expect(estimate.minutes[0]).toBeLessThan(estimate.minutes[1]);
    const twice = { ...recipe, evaluation: { ...recipe.evaluation, samples: 2 * recipe.evaluation.samples } };
    expect(estimateRun(twice, probe, true).minutes[0]).toBeGreaterThan(estimate.minutes[0]);
    expect(estimateRun(recipe, probe, false).minutes[1]).toBeLessThan(estimate.minutes[1]);
  });

  it('counts forward passes: 128 trajectories and 2 × 64 float samples of 20 guided steps are 10240 rows', () => {
    const none = recipeSchema.parse({ calibration: { timesteps: 1 }, evaluation: { timestepPairs: 16 } });
    const rows = 128 * 20 * 2 + 2 * 64 * 20 * 2 + 1.5 * 128 * 2 + 1.2 * (64 * 20 * 2 + 16);
    expect(estimateRun(none, probe, false).minutes[0]).toBeCloseTo(0.3 + (rows * 0.01) / 60, 6);
  });

  it('does not invent the memory that it could not see', () => {
    expect(estimateRun(recipe, { ...probe, engineBytes: null }, true).memoryBytes).toBeNull();
  });
});
