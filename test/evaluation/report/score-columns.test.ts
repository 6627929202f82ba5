import { describe, expect, test } from 'vitest';
import type { EvaluationDetails } from '../../../evaluation/evaluation-details.js';
import {
  differenceSeries,
  frechetOf,
  type RoledScores,
  scoreTableData,
} from '../../../evaluation/report/score-columns.js';
import { headlineOf } from '../../../evaluation/score-headline.js';
import { score } from './score-fixture.js';

const FRECHET = 'frechet[cifar10-resnet@1a2b3c4d]';

const SCORES = [
  score({ name: 'psnr-4', metric: 'psnr', value: 23, low: 19, high: 27, n: 4 }),
  score({ name: 'ssim-4', metric: 'ssim', value: null, n: 4 }),
  score({ name: 'latent-sqnr-4', metric: 'latent-sqnr', value: 13.5, n: 4 }),
  score({ name: 'denoiser-relative-mse-16', metric: 'denoiser-relative-mse', value: 0.026, n: 16 }),
  score({ name: `${FRECHET}-4`, metric: 'frechet', value: 1.3, n: 4 }),
  score({ name: `${FRECHET}-4`, metric: 'frechet', against: 'reference', value: 2.6, n: 4, referenceN: 1640 }),
];

function evaluation(role: RoledScores['role'], psnr: readonly number[], scores = SCORES): RoledScores {
  const details: EvaluationDetails = { schemaVersion: 1, notes: [], pictures: { psnr }, candidate: null, floor: null };
  return { role, label: role, scores, details, arithmetic: 'shipped' };
}

describe('the columns of a run’s evaluations', () => {
  test('are the numbers of their scores', () => {
    const data = scoreTableData([evaluation('after', [20, 22, 24, 26])], 1.84);
    expect(data).toMatchObject({ frechetName: FRECHET, referenceCount: 1640, floatToReference: 1.84, paired: null });
    expect(data.columns[0]).toMatchObject({
      ...{ samples: 4, psnrDb: 23, psnrInterval: { low: 19, high: 27 }, ssim: null },
      ...{ latentSqnrDb: 13.5, frechetToFloat: 1.3, frechetToReference: 2.6, denoiserRelativeMse: 0.026 },
    });
    // Ranks 0 … 3: the 10th percentile lies at 0.3 between the two smallest.
    expect(data.columns[0]?.psnrP10Db).toBeCloseTo(20.6, 12);
  });

  test('say what finetuning brought, picture by picture', () => {
    const sides = [evaluation('before', [20, 22, 24, 26]), evaluation('after', [21, 23, 25, 27])];
    expect(scoreTableData(sides, null).paired).toMatchObject({ n: 4, psnrDb: { mean: 1, low: 1, high: 1 } });
  });

  test('leave out what was not measured', () => {
    const [psnr] = SCORES;
    const scores = psnr === undefined ? [] : [psnr];
    expect(frechetOf(scores)).toEqual({ toFloat: null, toReference: null, referenceCount: null });
    expect(headlineOf(scores)).toMatchObject({ psnrDb: 23, latentSqnrDb: null, frechetToFloat: null });
    expect(() => headlineOf([])).toThrow(/no same-seed PSNR/);
    expect(differenceSeries([{ role: 'floor', label: 'floor', points: null }])).toEqual({});
  });
});
