import { describe, expect, it } from 'vitest';
import { recomputing } from '../../cli/run-rows.js';
import { recipeSchema } from '../../contracts/recipe.js';
import { startOptionsSchema } from '../../contracts/run-control.js';
import { QUANTIZE_WORKFLOW } from '../../contracts/run-summary.js';
import type { RunSpec } from '../../contracts/stages.js';

const phases = [{ name: 'time', layers: ['time-embedding' as const], steps: 4 }];
const SPEC: RunSpec = {
  ...{ source: '/p', sourceDigest: 'd', pipelineName: 'tiny', out: '/o', prompts: null },
  recipe: recipeSchema.parse({ name: 'r', finetuning: { phases } }),
  compute: { device: 'cpu', threads: 1 },
};
const stagesOf = (again: Parameters<typeof recomputing>[2]) =>
  recomputing(QUANTIZE_WORKFLOW, SPEC, again, 'request').recompute?.stages;

describe('what is computed again', () => {
  it('is a stage and all behind it, one stage alone, or everything', () => {
    expect(stagesOf({ from: 'convert' })).toEqual(['convert', 'evaluate', 'latency', 'report']);
    expect(stagesOf({ only: 'observe' })).toEqual(['observe']);
    expect(stagesOf('all')?.[0]).toBe('import');
    expect(stagesOf('all')).toEqual(expect.arrayContaining(['sample', 'finetune', 'report']));
  });

  it('is named by its row or refused with the names there are', () => {
    expect(stagesOf({ only: 'evaluate-floor' })).toEqual(['evaluate-floor']);
    expect(() => stagesOf({ from: 'fine-tune' })).toThrow(
      /no stage fine-tune\n {2}Did you mean finetune\? Its stages: import, plan/,
    );
    expect(() => recomputing('sweepRecipes', {}, 'all', 'request')).toThrow('no stages of its own');
  });

  it('is nothing for a run that was started without options', () => {
    expect(startOptionsSchema.parse(undefined)).toEqual({ recompute: null });
  });
});
