import { z } from 'zod';

/** What a score measures the pictures against. */
export const SCORE_SIDES = [
  'float', // the float pipeline's pictures of the same prompts and seeds
  'reference', // a folder of pictures or a statistics file
  'none', // nothing: the metric looks at one set (Inception score, CLIP score)
] as const;

/**
 * One number with everything that is needed to read it alone: `--output json` prints an array of these, scores.json holds one.
 * The name holds the extractor and n, because a distance of other features or of another n is another number.
 */
export const scoreSchema = z.strictObject({
  /** Full name, e.g. `frechet[cifar10-resnet@1a2b3c4d]-256`, `psnr-256`, `kid[…]-256`. */
  name: z.string().min(1),
  /** Row of the metric table, e.g. `frechet`, `kid`, `psnr`. */
  metric: z.string().min(1),
  against: z.enum(SCORE_SIDES),
  /** null when it could not be computed; `notes` say why. */
  value: z.number().nullable(),
  /** Ends of the interval; null when the metric has none. */
  low: z.number().nullable(),
  high: z.number().nullable(),
  /** Coverage of the interval, e.g. 0.95; null without one. */
  level: z.number().nullable(),
  /** How the interval was made; null without one. */
  interval: z.enum(['student-t', 'bootstrap', 'subsets', 'jackknife', 'wilson']).nullable(),
  /** Pictures of the evaluated set. */
  n: z.number().int().positive(),
  /** Pictures on the other side; null when there is none. */
  referenceN: z.number().int().positive().nullable(),
  unit: z.string(),
  better: z.enum(['higher', 'lower']).nullable(),
  /**
   * The same metric between float pictures and float pictures of other seeds at the same n: what no model can be told from. Of
   * `score`: between two halves of the reference, at the n that the notes say.
   */
  floor: z.number().nullable(),
  /** Of the hypothesis that both sets come from one distribution, by permutation; null when not tested. */
  pValue: z.number().nullable(),
  /** `<name>@<sha256:8>`, with `:clean` or `:legacy` behind it for that resizing; null for metrics without features. */
  extractor: z.string().nullable(),
  /** sha256 of the protocol; null when there was none. */
  protocol: z.string().nullable(),
  /** What a reader must know: few samples, JPEG reference, unknown provenance … */
  notes: z.array(z.string()),
});

export type Score = z.output<typeof scoreSchema>;
