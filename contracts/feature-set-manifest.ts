import { z } from 'zod';
import { artifactRefSchema } from './artifact.js';

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const width = z.number().int().positive();

/**
 * Features of a set of pictures: where each picture's rows lie. A set of any size crosses a process boundary as the
 * reference of this artifact; sets of shards are merged without touching their features.
 */
export const featureSetManifestSchema = z.strictObject({
  schemaVersion: z.literal(1),
  /** Name and sha256 of the extractor. */
  extractor: z.strictObject({ name: z.string().min(1), sha256: hex64 }),
  resize: z.enum(['extractor', 'clean', 'legacy']),
  /** Numbers per picture of each output. */
  widths: z.strictObject({ pool: width, logits: width.optional(), spatial: width.optional() }),
  /** Row r of a chunk's tensors is of the picture with key r: sha256 of its size and pixels. */
  chunks: z.array(z.strictObject({ features: artifactRefSchema, keys: z.array(hex64).min(1) })).min(1),
  /** How often a picture is in the set, for those that are more than once. */
  repeats: z.record(hex64, z.number().int().min(2)),
});

export type FeatureSetManifest = z.output<typeof featureSetManifestSchema>;
