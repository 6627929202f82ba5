import type { Score } from '../../../contracts/score.js';

const EXTRACTOR = 'cifar10-resnet@1a2b3c4d';

/** A score with everything that most of them share. */
export function score(changes: Partial<Score> & Pick<Score, 'name' | 'metric'>): Score {
  return {
    against: 'float',
    value: 1,
    low: null,
    high: null,
    level: null,
    interval: null,
    n: 256,
    referenceN: 256,
    unit: '',
    better: 'lower',
    floor: null,
    pValue: null,
    extractor: null,
    protocol: null,
    notes: [],
    ...changes,
  };
}

/** One of each kind, in no particular order; `hostile` is in every text that may come from files. */
export function scoreList(hostile = 'plain'): Score[] {
  const frechet = { metric: 'frechet', extractor: EXTRACTOR, notes: [`few samples ${hostile}`] };
  return [
    score({
      ...frechet,
      name: `frechet[${EXTRACTOR}]-256`,
      against: 'reference',
      value: 1.5612,
      referenceN: 1640,
      notes: [`few samples ${hostile}`, `provenance unknown ${hostile}`],
    }),
    score({
      ...frechet,
      name: `frechet[${EXTRACTOR}]-256`,
      value: 0.0935,
      floor: 0.0712,
      low: 0.08,
      high: 0.11,
      level: 0.95,
      interval: 'jackknife',
    }),
    score({
      name: `kid[${EXTRACTOR}]-256`,
      metric: 'kid',
      extractor: EXTRACTOR,
      value: 0.00021,
      low: -0.0002,
      high: 0.0006,
      level: 0.95,
      interval: 'subsets',
      floor: 0.0001,
      pValue: 0.0049751,
      protocol: 'ab'.repeat(32),
    }),
    score({
      name: 'psnr-256',
      metric: 'psnr',
      value: 23.25,
      low: 22.75,
      high: 23.75,
      level: 0.95,
      interval: 'student-t',
      unit: 'dB',
      better: 'higher',
      floor: 19.5,
    }),
    score({
      name: `inception-score[${hostile}]-256`,
      metric: 'inception-score',
      against: 'none',
      referenceN: null,
      value: null,
      better: 'higher',
      notes: [`no class scores in ${hostile}`],
    }),
  ];
}
