import { z } from 'zod';
import { NibbleflowError } from '../../contracts/errors.js';

const outputName = z.object({ name: z.string().min(1) });

/** `extractor.json` beside an extractor's model.onnx: what goes in and what comes out. */
export const extractorSpecSchema = z.object({
  name: z.string().min(1),
  input: z.object({
    name: z.string().min(1),
    layout: z.literal('NCHW'),
    /** Height and width in pixels. */
    size: z.tuple([z.number().int().positive(), z.number().int().positive()]),
    resize: z.literal('pil-bicubic'),
    /** RGB levels 0…255 are mapped to this interval. */
    range: z.tuple([z.number(), z.number()]),
    normalisation: z.literal('inside the graph'),
  }),
  outputs: z.object({
    features: outputName.extend({ dimension: z.number().int().positive() }),
    spatial: outputName.optional(),
    logits: outputName.extend({ classes: z.number().int().positive() }).optional(),
  }),
});

export type ExtractorSpec = z.infer<typeof extractorSpecSchema>;

/** Parses the JSON value of an extractor.json; throws InvalidModel naming every wrong field. */
export function parseExtractorSpec(value: unknown, where = 'extractor.json'): ExtractorSpec {
  const result = extractorSpecSchema.safeParse(value);
  if (!result.success) {
    throw new NibbleflowError('InvalidModel', `not a feature extractor: ${z.prettifyError(result.error)}`, { where });
  }
  return result.data;
}
