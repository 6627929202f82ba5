import { z } from 'zod';
import { fixed, signed } from '../../evaluation/report/format-number.js';
import { pairedInterval } from '../../evaluation/statistics/paired-interval.js';
import type { ProtocolScores } from './protocol-scores.js';
import {
  bestFullyCovered,
  bestWithBranch,
  isFullyCovered,
  isMostlyFourBits,
  type PublishedRows,
  type QualityRow,
} from './published-rows.js';

/** Finetuning is worth its time when it leaves at most this share of the denoiser's error. */
export const ERROR_RATIO_CLAIM = 0.6;

/** Minutes that a recipe may take on the zoo denoiser with 2 cores, and those that have less. */
const MINUTES_CLAIM = 30;
const FASTER_RECIPES: Readonly<Record<string, number>> = { quest: 10, w4a4: 10 };

export const claimSchema = z.strictObject({
  recipe: z.string(),
  claim: z.string(),
  measured: z.string(),
  met: z.boolean(),
});
export type Claim = z.infer<typeof claimSchema>;

/** A recipe's scores; null where nothing was finetuned, or where it was not asked for. */
export interface RecipeScores {
  readonly recipe: string;
  /** The same bits and kind of ranges without the recipe's method. */
  readonly plain: ProtocolScores | null;
  /** Before finetuning. */
  readonly before: ProtocolScores | null;
  readonly shipped: ProtocolScores;
  /** The line of what is shipped. */
  readonly row: QualityRow & { readonly minutesAreComplete: boolean };
}

/** What the project promises of a recipe, each with the number that decides it. */
export function claimsOf(scores: RecipeScores, published: PublishedRows): Claim[] {
  const { recipe, plain, before, shipped } = scores;
  return [
    ...(plain === null ? [] : [psnrClaim(recipe, 'plain rounding', plain, shipped)]),
    ...(before === null
      ? []
      : [errorRatioClaim(recipe, before, shipped), psnrClaim(recipe, 'before finetuning', before, shipped)]),
    ...publishedClaim(scores, published),
    ...minutesClaim(scores),
  ];
}

function minutesClaim({ recipe, row: { minutes, minutesAreComplete } }: RecipeScores): Claim[] {
  if (minutes === null) return [];
  const most = FASTER_RECIPES[recipe] ?? MINUTES_CLAIM;
  const measured = `${minutesAreComplete ? '' : 'more than '}${fixed(minutes, 1)} minutes`;
  return [{ recipe, claim: `quantized within ${most} minutes`, measured, met: minutesAreComplete && minutes <= most }];
}

function errorRatioClaim(recipe: string, before: ProtocolScores, after: ProtocolScores): Claim {
  const ratio = errorRatio(before, after);
  return {
    recipe,
    claim: `UNet error after / before finetuning ≤ ${ERROR_RATIO_CLAIM}`,
    measured: fixed(ratio, 3),
    met: ratio <= ERROR_RATIO_CLAIM,
  };
}

/** NaN when one of the errors was not measured. */
function errorRatio(before: ProtocolScores, after: ProtocolScores): number {
  return (after.denoiserRelativeMse ?? Number.NaN) / (before.denoiserRelativeMse ?? Number.NaN);
}

function psnrClaim(recipe: string, than: string, before: ProtocolScores, after: ProtocolScores): Claim {
  const { mean, low, high, n } = pairedInterval(before.psnrDb, after.psnrDb);
  return {
    recipe,
    claim: `same-seed PSNR − that of ${than}, 95 % interval above 0`,
    measured: `${signed(mean, 2)} dB [${signed(low, 2)}, ${signed(high, 2)}], n = ${n}`,
    met: low > 0,
  };
}

function publishedClaim(scores: RecipeScores, published: PublishedRows): Claim[] {
  return scores.row.floatBranchMacs === null ? plainClaim(scores, published) : branchClaims(scores, published);
}

function plainClaim({ recipe, shipped, before, row }: RecipeScores, published: PublishedRows): Claim[] {
  const best = bestFullyCovered(published.rows);
  if (best === undefined) return [];
  const covered = isFullyCovered(row);
  const notes = [
    ...(before === null ? ['not finetuned'] : []),
    ...(covered ? [] : [`but only ${fixed(100 * (row.macsAtFourBits ?? 0), 1)} % of MACs at 4×4`]),
    ...samplesNote(shipped, published),
  ];
  return [
    {
      recipe,
      claim: `same-seed PSNR above ${fixed(best.psnrDb, 2)} dB (best full-coverage row without a float branch)`,
      measured: [`${fixed(row.psnrDb, 2)} dB`, ...notes].join(', '),
      met: covered && row.psnrDb > best.psnrDb,
    },
  ];
}

/** What a float branch must win over full coverage without one, and the share of multiply-adds that it may add. */
const BRANCH_GAIN_DB = 3;
const BRANCH_MACS = 0.1;

/** A recipe with a float branch is held against rows without one, with a margin, and against rows with any. */
function branchClaims({ recipe, shipped, row }: RecipeScores, published: PublishedRows): Claim[] {
  const without = bestFullyCovered(published.rows);
  const withBranch = bestWithBranch(published.rows);
  const allowed = isMostlyFourBits(row) && (row.floatBranchMacs ?? 0) <= BRANCH_MACS;
  const notes = [
    `${fixed(100 * (row.macsAtFourBits ?? 0), 1)} % of MACs at 4×4, branch +${fixed(100 * (row.floatBranchMacs ?? 0), 1)} %`,
    ...samplesNote(shipped, published),
  ];
  const claim = (text: string, least: number): Claim => ({
    recipe,
    claim: `same-seed PSNR of at least ${fixed(least, 2)} dB (${text})`,
    measured: [`${fixed(row.psnrDb, 2)} dB`, ...notes].join(', '),
    met: allowed && row.psnrDb >= least,
  });
  return [
    ...(without === undefined
      ? []
      : [
          claim(`${BRANCH_GAIN_DB} dB above every full-coverage row without a branch`, without.psnrDb + BRANCH_GAIN_DB),
        ]),
    ...(withBranch === undefined
      ? []
      : [
          claim(
            `the full-coverage row with a branch of +${fixed(100 * (withBranch.floatBranchMacs ?? 0), 0)} %`,
            withBranch.psnrDb,
          ),
        ]),
  ];
}

function samplesNote(shipped: ProtocolScores, published: PublishedRows): string[] {
  const n = shipped.psnrDb.length;
  return n === published.samples ? [] : [`n = ${n}, not ${published.samples}`];
}
