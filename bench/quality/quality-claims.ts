import { fixed, signed } from '../../evaluation/report/format-number.js';
import { pairedInterval } from '../../evaluation/statistics/paired-interval.js';
import type { ProtocolScores } from './protocol-scores.js';
import { bestFullyCovered, isFullyCovered, type PublishedRows, type QualityRow } from './published-rows.js';

/** Finetuning is worth its time when it leaves at most this share of the denoiser's error. */
export const ERROR_RATIO_CLAIM = 0.6;

export interface Claim {
  readonly recipe: string;
  readonly claim: string;
  readonly measured: string;
  readonly met: boolean;
}

/** A recipe's scores on both sides of finetuning. `after` is null when nothing was finetuned. */
export interface RecipeScores {
  readonly recipe: string;
  readonly before: ProtocolScores;
  readonly after: ProtocolScores | null;
  /** The line of what is shipped: after finetuning, or before where there is none. */
  readonly shipped: QualityRow;
}

/** What the project promises of a recipe, each with the number that decides it. */
export function claimsOf(scores: RecipeScores, published: PublishedRows): Claim[] {
  const { before, after } = scores;
  const tuned =
    after === null ? [] : [errorRatioClaim(scores.recipe, before, after), psnrClaim(scores.recipe, before, after)];
  return [...tuned, ...publishedClaim(scores, published)];
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

function psnrClaim(recipe: string, before: ProtocolScores, after: ProtocolScores): Claim {
  const { mean, low, high, n } = pairedInterval(before.psnrDb, after.psnrDb);
  return {
    recipe,
    claim: 'same-seed PSNR after − before, 95 % interval above 0',
    measured: `${signed(mean, 2)} dB [${signed(low, 2)}, ${signed(high, 2)}], n = ${n}`,
    met: low > 0,
  };
}

function publishedClaim({ recipe, shipped, before, after }: RecipeScores, published: PublishedRows): Claim[] {
  const best = bestFullyCovered(published.rows);
  if (best === undefined) return [];
  const covered = isFullyCovered(shipped);
  const n = before.psnrDb.length;
  const notes = [
    ...(after === null ? ['not finetuned'] : []),
    ...(covered ? [] : [`but only ${fixed(100 * (shipped.macsAtFourBits ?? 0), 1)} % of MACs at 4×4`]),
    ...(n === published.samples ? [] : [`n = ${n}, not ${published.samples}`]),
  ];
  return [
    {
      recipe,
      claim: `same-seed PSNR above ${fixed(best.psnrDb, 2)} dB (best full-coverage row without a float branch)`,
      measured: [`${fixed(shipped.psnrDb, 2)} dB`, ...notes].join(', '),
      met: covered && shipped.psnrDb > best.psnrDb,
    },
  ];
}
