import { NibbleflowError } from '../../contracts/errors.js';
import { FEWEST_FOR_DISTANCES } from '../../contracts/protocol.js';

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
