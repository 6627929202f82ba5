/**
 * Logarithmic grids for attention probabilities (log2: Miyashita et al., arXiv 1603.01025; for attention FQ-ViT, Lin et al.,
 * IJCAI 2022; with a scale per prompt DGQ, Ryu et al., ICLR 2025):
 *
 *   log2       q = clip(round(−log2(p / d)), 0, 2^b − 1),      p̂ = d · 2^(−q)
 *   log-sqrt2  q = clip(round(−2 log2(p / d)), 0, 2^b − 1),    p̂ = d · 2^(−q / 2)
 *
 * which is an unsigned grid of equal steps (1 or ½, zero point 0) for u = −log2(p / d). d is the largest p.
 */
export const LOG_GRIDS = {
  log2: { step: 1 },
  'log-sqrt2': { step: 0.5 },
} as const;

export type LogGridName = keyof typeof LOG_GRIDS;

/** p / d below the smallest normal float32 counts as that: its logarithm is finite and beyond every code. */
export const SMALLEST_RATIO = 2 ** -126;
