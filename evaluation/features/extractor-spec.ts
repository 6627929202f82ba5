import { z } from 'zod';
import { NibbleflowError } from '../../contracts/errors.js';
import type { ModelFile } from '../../models/executor.js';
import { RESIZE_KERNEL_NAMES } from './resize-kernels.js';
import type { ResizeMode } from './resize-modes.js';

const outputName = z.object({ name: z.string().min(1) });
const interval = z.tuple([z.number(), z.number()]);
/** Of all channels, or of red, green and blue. */
const range = z.union([interval, z.tuple([interval, interval, interval])]);
const kernel = z.enum(RESIZE_KERNEL_NAMES);
const triple = z.tuple([z.number(), z.number(), z.number()]);
const mode = z.object({ resize: kernel.optional(), range: range.optional() });
const size = z.number().int().positive();

const inputSchema = z
  .object({
    name: z.string().min(1),
    layout: z.literal('NCHW'),
    /** Height and width in pixels. */
    size: z.tuple([size, size]),
    resize: kernel,
    /** CLIP's: the shorter side gets the input's size and the middle is cut out; without it pictures are stretched. */
    crop: z.literal('center').optional(),
    /** RGB levels 0…255 are mapped to this interval, or each channel's to its own. */
    range: range.optional(),
    /** Instead of `range`: (level / 255 − mean) / std of each channel. */
    mean: triple.optional(),
    std: triple.refine((values) => values.every((value) => value !== 0), 'no channel can have std 0').optional(),
    /** What the modes of protocols mean for this extractor, where it is not their usual kernel and this range. */
    modes: z.object({ clean: mode.optional(), legacy: mode.optional() }).optional(),
    normalisation: z.string().optional(),
  })
  .refine(({ range: interval, mean, std }) => (interval === undefined) !== (mean === undefined && std === undefined), {
    path: ['range'],
    error: 'an input has either a range, or a mean and std',
  })
  .refine(({ crop, size: [height, width] }) => crop === undefined || height === width, {
    path: ['crop'],
    error: 'a square is cut out: the input’s height and width must be equal',
  });

const layerSchema = outputName.extend({
  /** Of the layer's squared differences, or of each channel's; default 1. */
  weight: z.union([z.number().nonnegative(), z.array(z.number().nonnegative()).min(1)]).optional(),
});

/** Inside the extractor's folder: plain names with `/` between them. */
const innerPath = z
  .string()
  .regex(/^(?!\.{1,2}(\/|$))[\w.-]+(\/(?!\.{1,2}(\/|$))[\w.-]+)*$/, 'a path inside the folder');

/** The text encoder of a pair (CLIP): its embeddings live in the space of the picture's features. */
const textSchema = z.object({
  model: innerPath.default('text_model.onnx'),
  /** Folder with tokenizer_config.json, and tokenizer.json or vocab.json and merges.txt. */
  tokenizer: innerPath.default('tokenizer'),
  /** Tokens of a prompt, special tokens and padding included. */
  maxLength: z.number().int().min(2).max(4096).default(77),
  input: z
    .object({
      ids: z.string().min(1).default('input_ids'),
      attentionMask: z.string().min(1).nullable().default(null),
      type: z.enum(['int64', 'int32']).default('int64'),
    })
    .prefault({}),
  /** [n, dimension of the picture's features]. */
  output: outputName.prefault({ name: 'text_embeds' }),
});

export type TextEncoderSpec = z.infer<typeof textSchema>;

/** `extractor.json` beside an extractor's model.onnx: what goes in and what comes out. */
export const extractorSpecSchema = z.object({
  name: z.string().min(1),
  input: inputSchema,
  outputs: z.object({
    features: outputName.extend({ dimension: size }),
    /** A feature map [n, c, h, w] for spatial distances. */
    spatial: outputName.extend({ dims: z.tuple([size, size, size]).optional() }).optional(),
    logits: outputName.extend({ classes: size }).optional(),
  }),
  /** Values [n, c, h, w] inside the graph, outputs or not, whose differences make the LPIPS-style distance. */
  layers: z.array(layerSchema).min(1).optional(),
  text: textSchema.optional(),
  /** Pictures per run; default: by the size of the input. */
  batch: z.number().int().min(1).max(1024).optional(),
  provenance: z
    .object({
      source: z.string().optional(),
      /** Of the file that the model was made from. */
      sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
      /** sha256 of model.onnx when it was made from that file: another model is not that file's. */
      model: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
    })
    .optional(),
});

export type ExtractorSpec = z.infer<typeof extractorSpecSchema>;

/** An extractor that can be opened: its description, its model and the sha256 of the model's file. */
export interface Extractor {
  readonly spec: ExtractorSpec;
  readonly sha256: string;
  readonly model: Uint8Array | ModelFile;
}

/**
 * `<name>@<first 8 hex digits of the sha256>`, as scores name an extractor, with `:<mode>` behind it where pictures get its size in
 * another way than it says: those are other numbers.
 */
export function extractorLabel(extractor: {
  readonly name: string;
  readonly sha256: string;
  readonly resize?: ResizeMode;
}): string {
  const { name, sha256, resize = 'extractor' } = extractor;
  return `${name}@${sha256.slice(0, 8)}${resize === 'extractor' ? '' : `:${resize}`}`;
}

/** Parses the JSON value of an extractor.json; throws InvalidModel naming every wrong field. */
export function parseExtractorSpec(value: unknown, where = 'extractor.json'): ExtractorSpec {
  const result = extractorSpecSchema.safeParse(value);
  if (!result.success) {
    throw new NibbleflowError('InvalidModel', `not a feature extractor: ${z.prettifyError(result.error)}`, { where });
  }
  return result.data;
}

/** Pictures of 299×299 that are run at once at most; smaller pictures up to MOST_PICTURES. */
const LARGE_PICTURES = 8;
const MOST_PICTURES = 32;

/**
 * Pictures per run of an extractor: a fact of the extractor, because another batch size may choose kernels that sum float32
 * in another order.
 */
export function batchSizeOf({ batch, input }: ExtractorSpec): number {
  if (batch !== undefined) return batch;
  const [height, width] = input.size;
  return Math.max(1, Math.min(MOST_PICTURES, Math.floor((LARGE_PICTURES * 299 * 299) / (height * width))));
}
