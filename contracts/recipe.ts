import { z } from 'zod';
import { checkActivations } from './check-activations.js';
import { checkCalibration } from './check-calibration.js';
import { checkFinetuning } from './check-finetuning.js';
import { checkReconstruction, reconstructionSettingsSchema } from './reconstruction-settings.js';
import {
  checkMixedPrecision,
  mixedPrecisionSettingsSchema,
  sensitivitySettingsSchema,
} from './sensitivity-settings.js';

/**
 * A recipe says what to do. All defaults live here; a recipe file holds only what differs, and `extends` another.
 * Every object is strict: an unknown key is an error.
 */

const bits = z.number().int().min(2).max(8);
const groupSize = z.literal([16, 32, 64, 128]);

export const weightSettingsSchema = z
  .strictObject({
    bits: bits.default(4).describe('bits of a weight; 2 to 8'),
    granularity: z
      .enum(['channel', 'group'])
      .default('group')
      .describe('one scale per output channel, or per output channel and group of input channels'),
    groupSize: groupSize.default(64).describe('input elements that share a scale when granularity is group'),
    range: z.enum(['absmax', 'mse']).default('mse').describe('how the scale is found'),
  })
  .prefault({});

export const activationSettingsSchema = z
  .strictObject({
    bits: bits.default(4).describe('bits of an activation; 2 to 8'),
    symmetric: z
      .boolean()
      .default(false)
      .describe('signed codes around zero; otherwise unsigned codes with a zero point'),
    ranges: z
      .enum(['static', 'timestep', 'dynamic'])
      .default('dynamic')
      .describe('one range for all timesteps, a table with one range per calibrated timestep, or found at run time'),
    groupSize: groupSize
      .nullable()
      .default(64)
      .describe('dynamic ranges: channels that share a range; null is one range per pixel or token'),
    channelOrder: z
      .enum(['given', 'alike'])
      .default('given')
      .describe('dynamic ranges in groups: neighbouring channels share a range, or channels that are large together'),
    range: z.enum(['minmax', 'mse']).default('mse').describe('how static and timestep ranges are found'),
    granularity: z
      .enum(['tensor', 'channel'])
      .default('tensor')
      .describe(
        'static and timestep ranges: one per value, or one per input channel (a simulation on integer hardware)',
      ),
    grouping: z
      .strictObject({
        method: z.enum(['none', 'kmeans']).default('none'),
        groups: z
          .union([z.literal(8), z.literal(16)])
          .default(8)
          .describe('most ranges of a value'),
        axis: z
          .enum(['auto', 'channel', 'pixel'])
          .default('auto')
          .describe('what is grouped; auto takes channels, or pixels and tokens where their ranges differ more'),
        fixedSize: z
          .boolean()
          .default(false)
          .describe(
            'lets a denoiser that takes pictures of any size be converted for the calibrated size only, which groups of pixels need',
          ),
      })
      .prefault({})
      .describe('static and timestep ranges: channels or pixels with alike minima and maxima share one'),
  })
  .prefault({});

/** Which layers a finetuning phase trains, by role. */
export const LAYER_ROLES = [
  'first',
  'last',
  'time-embedding',
  'attention-projection',
  'feed-forward',
  'convolution',
  'shortcut',
  'linear',
  'attention-matmul',
] as const;
export const layerRoleSchema = z.enum(LAYER_ROLES);
export type LayerRole = z.infer<typeof layerRoleSchema>;

/**
 * Parts of the role attention-projection. A layer can be several: a joint qkv layer is query and self-key-value. Keys and
 * values are of cross-attention when the layer's input does not depend on the sample.
 */
export const ATTENTION_PARTS = [
  'attention-query',
  'attention-self-key-value',
  'attention-cross-key-value',
  'attention-output',
] as const;
export type AttentionPart = (typeof ATTENTION_PARTS)[number];
const layerSelectorSchema = z.enum([...LAYER_ROLES, ...ATTENTION_PARTS]);

export const finetuningPhaseSchema = z.strictObject({
  name: z.string().min(1),
  layers: z
    .array(layerSelectorSchema)
    .min(1)
    .describe('roles, or parts of attention, of the layers whose weights and biases are trained'),
  steps: z.number().int().positive(),
  learningRateWeights: z.number().positive().default(1e-4),
  learningRateScales: z.number().positive().default(1e-3),
  layerLossWeight: z.number().nonnegative().optional().describe('overrides finetuning.layerLossWeight in this phase'),
});

/** A list in which every name stands once. */
const namedOnce = [
  (names: readonly string[]) => new Set(names).size === names.length,
  { error: 'names something twice' },
] as const;

/** The keys of a recipe, before they are checked against each other. */
export const recipeFields = z.strictObject({
  $schema: z.string().optional(),
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]*$/)
    .default('w4a4')
    .describe('shows up in workflow ids and reports'),
  weights: weightSettingsSchema,
  activations: activationSettingsSchema,
  edges: z
    .strictObject({ bits: bits.default(8) })
    .prefault({})
    .describe('bits of weights and activations of the first and the last layer'),
  attention: z
    .strictObject({
      bits: bits.nullable().default(8).describe('bits of the inputs of q·kᵀ and softmax·V; null leaves them float'),
      probabilities: z
        .enum(['uniform', 'log2', 'log-sqrt2'])
        .default('uniform')
        .describe(
          'grid of what comes out of a softmax; logarithmic ones start at its largest value, found at run time',
        ),
      keepFirstToken: z
        .boolean()
        .default(false)
        .describe('cross-attention: keys and probabilities of the start token stay float'),
    })
    .prefault({}),
  overrides: z
    .array(
      z.strictObject({
        layers: z.string().describe('regular expression on the layer name'),
        skip: z.boolean().default(false),
        weightBits: bits.optional(),
        activationBits: bits.optional(),
      }),
    )
    .default([]),
  lowRank: z
    .strictObject({
      macsBudget: z
        .number()
        .min(0)
        .max(0.5)
        .default(0)
        .describe("float side branches of low rank: extra multiply-adds as a share of the denoiser's; 0 is none"),
      layerShare: z
        .number()
        .positive()
        .max(1)
        .default(1)
        .describe(
          "a branch costs at most this share of its layer's own multiply-adds: above, the layer would be float",
        ),
      weighting: z
        .enum(['output', 'guided', 'layer'])
        .default('output')
        .describe(
          "errors count by what they do to the denoiser's output, to the guided prediction with timesteps weighed by their effect on the final latents, or relative to each layer's own output",
        ),
    })
    .prefault({}),
  corrections: z
    .array(z.enum(['output-refit', 'norm-tweak']))
    .refine(...namedOnce)
    .default([])
    .describe('changes of rounded parameters in closed form; an output refit comes before norm tweaking'),
  transforms: z
    .array(z.enum(['split-shortcut', 'norm-fold', 'rotate', 'smooth']))
    .refine(...namedOnce)
    .default(['split-shortcut'])
    .describe('float-exact rewrites of the graph before it is quantized, in this order'),
  sampling: z
    .strictObject({
      steps: z.number().int().min(1).max(1000).default(20),
      guidance: z.number().min(1).max(30).default(1.5),
    })
    .prefault({}),
  prompts: z
    .strictObject({
      file: z
        .string()
        .nullable()
        .default(null)
        .describe(
          'a .txt (a prompt a line) or .json (array of strings) file; null: prompts.txt or prompts.json of the pipeline folder, else the bundled captions',
        ),
      evaluation: z
        .array(z.string())
        .nullable()
        .default(null)
        .describe('exact evaluation prompts instead of a draw from the file'),
    })
    .prefault({}),
  calibration: z
    .strictObject({
      trajectories: z
        .number()
        .int()
        .min(2)
        .max(100_000)
        .default(128)
        .describe('float trajectories that are sampled, a prompt each'),
      timesteps: z
        .number()
        .int()
        .min(1)
        .max(1000)
        .default(20)
        .describe('timesteps, evenly spaced over the sampler steps, whose inputs are kept'),
      strategy: z
        .enum(['uniform-steps', 'density-variety'])
        .default('uniform-steps')
        .describe(
          'read every trajectory at all kept timesteps, or each at one: more at timesteps that many others look like, and at odd ones',
        ),
      samples: z
        .number()
        .int()
        .min(16)
        .nullable()
        .default(null)
        .describe('density-variety: trajectories that are read, each at one timestep; null: all of them'),
      densityRadius: z
        .number()
        .positive()
        .default(0.3)
        .describe('density-variety: mean squared distance at which two timesteps look alike'),
      varietyWeight: z.number().nonnegative().default(1).describe('density-variety: weight of odd timesteps'),
      seed: z.number().int().nonnegative().default(1),
    })
    .prefault({}),
  sensitivity: sensitivitySettingsSchema,
  mixedPrecision: mixedPrecisionSettingsSchema,
  reconstruction: reconstructionSettingsSchema,
  finetuning: z
    .strictObject({
      enabled: z.boolean().default(true),
      phases: z.array(finetuningPhaseSchema).default([]),
      batchSize: z.number().int().min(1).max(256).default(16),
      outputLossWeight: z
        .number()
        .nonnegative()
        .default(2)
        .describe('weight of the network-output MSE beside the layer MSE'),
      layerLossWeight: z.number().nonnegative().default(1),
      guidedLossWeight: z
        .number()
        .nonnegative()
        .default(0)
        .describe('weight of the MSE of the guided prediction, timesteps weighed by their effect on the final latents'),
      validationFraction: z
        .number()
        .min(0.02)
        .max(0.5)
        .default(0.125)
        .describe('share of the calibration prompts held back'),
      validateEvery: z.number().int().positive().default(50).describe('steps between validations'),
      patience: z.number().int().positive().default(6).describe('validations without improvement before a phase ends'),
      gradient: z
        .enum(['identity', 'trust'])
        .default('identity')
        .describe('what passes rounding backwards: everything inside the grid, or where the rounding error is small'),
      trustFactor: z
        .number()
        .positive()
        .max(1000)
        .default(1)
        .describe('gradient trust: 1 trusts errors up to half a step of the best grid for a Gaussian'),
      recompute: z
        .enum(['none', 'blocks'])
        .default('none')
        .describe('less memory, more time: activations of a block are computed again when its gradients are'),
      savedActivations: z
        .enum(['float32', 'int8'])
        .default('float32')
        .describe('less memory: activations wait for their gradients in 8 bits with a range per group'),
      optimizerState: z
        .enum(['float32', 'fp8'])
        .default('float32')
        .describe(
          "less memory and smaller checkpoints: Adam's moments of large parameters in FP8 with a range per group",
        ),
      seed: z.number().int().nonnegative().default(2),
    })
    .prefault({}),
  evaluation: z
    .strictObject({
      samples: z.number().int().min(2).max(50_000).default(64),
      seed: z.number().int().nonnegative().default(1000),
      beforeFinetuning: z.boolean().default(true).describe('also evaluate the same recipe without finetuning'),
      timestepPairs: z
        .number()
        .int()
        .min(16)
        .max(100_000)
        .default(256)
        .describe('(image, step, branch) triples of the denoiser error'),
    })
    .prefault({}),
});

export const recipeSchema = recipeFields
  .superRefine(checkActivations)
  .superRefine(checkCalibration)
  .superRefine(checkMixedPrecision)
  .superRefine(checkReconstruction)
  .superRefine(checkFinetuning);

/** A fully resolved recipe: every default filled in. */
export type Recipe = z.output<typeof recipeSchema>;
export type RecipeInput = z.input<typeof recipeSchema>;
export type WeightSettings = Recipe['weights'];
export type ActivationSettings = Recipe['activations'];
export type FinetuningPhase = z.output<typeof finetuningPhaseSchema>;

/** Whether a recipe asks for what the stage `correct` does: changes of rounded parameters without gradient descent. */
export function asksForCorrections({ lowRank, corrections }: Pick<Recipe, 'lowRank' | 'corrections'>): boolean {
  return lowRank.macsBudget > 0 || corrections.length > 0;
}
