/** Groups of every delete-a-group jackknife. */
export const JACKKNIFE_GROUPS = 10;

/** The group of each row of two sets. */
export interface RowGroups {
  readonly fake: Uint8Array;
  readonly real: Uint8Array;
}

/**
 * Deals rows in canonical order: row i is of group i mod 10. Same-seed partners leave together, because they are no independent
 * rows: what they share is then no part of the error.
 * @param partners of each fake row the real row made of the same seed; undefined for independent sets
 */
export function jackknifeGroups(n: number, m: number, partners?: Uint32Array): RowGroups {
  const dealt = (rows: number): Uint8Array => Uint8Array.from({ length: rows }, (_, row) => row % JACKKNIFE_GROUPS);
  const fake = dealt(n);
  const real = dealt(m);
  for (const [row, partner] of (partners ?? []).entries()) real[partner] = fake[row] as number;
  return { fake, real };
}
