import { z } from 'zod';

/** How weights are rounded block by block, behind the rounding to nearest. */
export const reconstructionSettingsSchema = z
  .strictObject({
    enabled: z.boolean().default(false).describe('learn block by block which weights are rounded up and which down'),
    steps: z.number().int().positive().default(200).describe('training steps of each block'),
    batchSize: z.number().int().min(1).max(256).default(16),
    samples: z
      .number()
      .int()
      .min(8)
      .max(100_000)
      .default(256)
      .describe('calls of the denoiser, spread over timesteps and prompts, whose block inputs and outputs are kept'),
    learningRateRounding: z.number().positive().default(0.1),
    learningRateScales: z
      .number()
      .positive()
      .default(1e-3)
      .describe('relative to the scales of the activations that only the block reads'),
    roundingPenalty: z
      .number()
      .nonnegative()
      .default(0.01)
      .describe('weight of the penalty on undecided weights; 0 leaves it out'),
    penaltyWarmUp: z.number().min(0).max(0.9).default(0.2).describe('share of the steps before the penalty sets in'),
    innerLossWeight: z
      .number()
      .nonnegative()
      .default(0)
      .describe("weight of the errors of a block's inner layers beside that of its output"),
    inputs: z
      .enum(['float', 'quantized'])
      .default('quantized')
      .describe('what enters a block: values of the float network, or of the network quantized up to there'),
    inputMix: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe('quantized inputs: probability that an element comes from the float network'),
    activationDrop: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe('probability that an element of an activation stays float in a training step'),
    scales: z
      .enum(['none', 'joint', 'after'])
      .default('none')
      .describe(
        'activation scales: as they are, trained with the weights, or trained after them on float inputs (weights then see float activations)',
      ),
    scaleSteps: z.number().int().positive().default(100).describe('steps of the scales when they come after'),
    wave: z
      .number()
      .int()
      .min(1)
      .max(64)
      .default(1)
      .describe(
        'quantized inputs: blocks that are trained at the same time, seeing earlier waves as trained; above 1 a block makes up for errors of its neighbours that they then do not have',
      ),
    seed: z.number().int().nonnegative().default(3),
  })
  .prefault({});
export type ReconstructionSettings = z.output<typeof reconstructionSettingsSchema>;

/** Settings that contradict each other are refused when the recipe is read. */
export function checkReconstruction(
  recipe: { readonly reconstruction: ReconstructionSettings; readonly activations: { readonly ranges: string } },
  context: z.RefinementCtx,
): void {
  const { enabled, inputs, inputMix, scales, activationDrop } = recipe.reconstruction;
  if (!enabled) return;
  const refuse = (key: keyof ReconstructionSettings, message: string): void => {
    context.addIssue({ code: 'custom', path: ['reconstruction', key], message });
  };
  if (inputs === 'float' && inputMix > 0)
    refuse('inputMix', 'mixes float with quantized inputs: set inputs to quantized');
  if (scales === 'after' && activationDrop > 0)
    refuse('activationDrop', 'has no effect with scales: after, where weights are trained on float activations');
  if (scales !== 'none' && recipe.activations.ranges === 'dynamic')
    refuse('scales', 'there are none to train: activations.ranges is dynamic; set scales to none');
}
