import { NibbleflowError } from '../../contracts/errors.js';

/**
 * Distances between distributions of fewer pictures say more about the number than about the pictures: 2 · 50 at least, as the
 * rules of evaluation have it. Pairs need one.
 */
export const FEWEST_FOR_DISTANCES = 50;

/** Throws InvalidInput for statistics that are known to be of fewer pictures. */
export function refuseFewPictures({ n }: { readonly n: number | null }, where?: string): void {
  if (n === null || n >= FEWEST_FOR_DISTANCES) return;
  throw new NibbleflowError(
    'InvalidInput',
    `the statistics are of ${n} pictures; ${FEWEST_FOR_DISTANCES} are needed at least`,
    {
      where,
      fix: 'Make them again of more pictures with `nibbleflow stats`.',
    },
  );
}
