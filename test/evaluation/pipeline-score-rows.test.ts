import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { scoreSchema } from '../../contracts/score.js';
import { scoresOf } from '../../evaluation/pipeline-score-rows.js';
import type { PipelineScores } from '../../evaluation/pipeline-scores.js';
import { scoreTableData } from '../../evaluation/report/score-columns.js';

const SHIPPED: PipelineScores = {
  schemaVersion: 1,
  label: 'W4A4',
  samples: 4,
  psnrDb: [20, 22, 24, 26],
  ssim: [0.7, 0.8, 0.9, 0.8],
  latentSqnrDb: 13.5,
  timestepSqnr: [],
  frechet: {
    name: 'frechet[cifar10-resnet@1a2b3c4d]',
    toFloat: 1.3,
    toReference: 2.6,
    floatToReference: 1.84,
    referenceCount: 1640,
  },
  denoiserRelativeMse: 0.026,
  layers: null,
  layerTimesteps: null,
  arithmetic: 'shipped',
};
const FLOOR: PipelineScores = {
  ...SHIPPED,
  psnrDb: [25, 27, 25, 27],
  frechet: { ...SHIPPED.frechet, toFloat: 0.2 },
  denoiserRelativeMse: null,
  arithmetic: 'float',
};

describe('scoresOf', () => {
  const rows = scoresOf(SHIPPED, FLOOR, 16);
  const named = (name: string, against = 'float') => rows.find((row) => row.name === name && row.against === against);

  test('gives rows that the contract takes, with n and extractor in their names', () => {
    expect(z.array(scoreSchema).parse(rows)).toEqual(rows);
    expect(rows.map(({ name, against }) => `${name} ${against}`)).toEqual([
      'psnr-4 float',
      'ssim-4 float',
      'latent-sqnr-4 float',
      'denoiser-relative-mse-16 float',
      'frechet[cifar10-resnet@1a2b3c4d]-4 float',
      'frechet[cifar10-resnet@1a2b3c4d]-4 reference',
    ]);
  });

  test('are the numbers of the report’s columns', () => {
    const [column] = scoreTableData([{ role: 'after', scores: SHIPPED }]).columns;
    const psnr = named('psnr-4');
    expect(psnr?.value).toBe(column?.psnrDb);
    expect({ low: psnr?.low, high: psnr?.high }).toEqual(column?.psnrInterval);
    expect(named('frechet[cifar10-resnet@1a2b3c4d]-4')?.value).toBe(column?.frechetToFloat);
  });

  test('have the noise floor beside them, and say what a reader must know', () => {
    expect(named('psnr-4')?.floor).toBe(26);
    expect(named('frechet[cifar10-resnet@1a2b3c4d]-4')?.floor).toBe(0.2);
    const reference = named('frechet[cifar10-resnet@1a2b3c4d]-4', 'reference');
    expect(reference).toMatchObject({ referenceN: 1640, extractor: 'cifar10-resnet@1a2b3c4d', floor: null });
    expect(reference?.notes.join(' ')).toMatch(/biased upwards.*float pictures themselves are 1\.84/);
    expect(scoresOf(SHIPPED, null, 16).every(({ floor }) => floor === null)).toBe(true);
  });

  test('leave out what was not measured, and mark arithmetic in float operators', () => {
    const frechet = { ...SHIPPED.frechet, toReference: null };
    const some = scoresOf({ ...SHIPPED, frechet, denoiserRelativeMse: null, arithmetic: 'shipped-in-float' }, null, 16);
    expect(some).toHaveLength(4);
    for (const { notes } of some) expect(notes[0]).toContain('float operators');
  });
});
