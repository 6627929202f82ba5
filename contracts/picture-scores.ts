import { z } from 'zod';

/** Where an output folder keeps its scores and what they were computed from, picture by picture. */
export const SCORES_FILE = 'scores.json';
export const PICTURES_FILE = 'pictures.json';
export const PROTOCOL_FILE = 'protocol.json';

/**
 * Same-seed values of every picture: pictures.json of an output folder. Two evaluations whose prompts, seed, steps and guidance
 * are equal are compared pair by pair, which cancels the pictures' own spread.
 */
export const pictureScoresSchema = z.strictObject({
  schemaVersion: z.literal(1),
  /** Of picture i; empty texts for unconditional models. */
  prompts: z.array(z.string()),
  /** Picture i starts from noise (seed, i). */
  seed: z.number().int().nonnegative(),
  steps: z.number().int().positive(),
  guidance: z.number(),
  /** Digest of the float pipeline that the pictures were compared with. */
  float: z.string(),
  /** By the `metric` of the scores (`psnr`, `ssim`, `lpips` …): one value a picture, in the order of the prompts. */
  values: z.record(z.string(), z.array(z.number())),
});

export type PictureScores = z.output<typeof pictureScoresSchema>;
