import type { Score } from '../../contracts/score.js';

/** Metrics that compare picture with picture, or call with call, of the same seed. */
export const SAME_SEED_METRICS: readonly string[] = [
  'psnr',
  'ssim',
  'lpips',
  'latent-sqnr',
  'trajectory-error',
  'denoiser-relative-mse',
];

export interface ScoreGroup {
  readonly title: string;
  /** What the group answers, in a sentence. */
  readonly about: string;
  readonly scores: readonly Score[];
}

const GROUPS: readonly { readonly title: string; readonly about: string; readonly has: (score: Score) => boolean }[] = [
  {
    title: 'Same seed',
    about: 'Picture by picture against the float picture of the same prompt and start noise.',
    has: isSameSeed,
  },
  {
    title: 'Distance to float',
    about: 'Set against set: the float pictures. The noise floor is the float model against itself with other seeds.',
    has: (score) => score.against === 'float' && !isSameSeed(score),
  },
  {
    title: 'Distance to the reference',
    about: 'Set against set: the reference pictures or their statistics.',
    has: ({ against }) => against === 'reference',
  },
  { title: 'Without a counterpart', about: 'The evaluated pictures alone.', has: ({ against }) => against === 'none' },
];

/** True for metrics of pairs with equal prompts and seeds, which few pictures are enough for. */
export function isSameSeed({ metric, against }: Pick<Score, 'metric' | 'against'>): boolean {
  return against === 'float' && SAME_SEED_METRICS.includes(metric);
}

/** Scores in the order in which they should be read; empty groups are left out. */
export function scoreGroups(scores: readonly Score[]): ScoreGroup[] {
  return GROUPS.map(({ title, about, has }) => ({ title, about, scores: scores.filter(has) })).filter(
    (group) => group.scores.length > 0,
  );
}

/** Every different note once, in the order of the scores; a score's marks are 1-based places in it. */
export function footnotesOf(scores: readonly Score[]): string[] {
  return [...new Set(scores.flatMap(({ notes }) => notes))];
}
