import { z } from 'zod';

/** The scan of single layers, and the bits that are chosen from it. */

const bits = z.number().int().min(2).max(8);

export const sensitivitySettingsSchema = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .describe('measure what every layer does to the network when it alone is quantized, before anything is trained'),
    bits: z
      .array(bits)
      .default([4, 6, 8])
      .describe("numbers of bits to scan; an empty list measures the layers' own errors for the gate only"),
    items: z.number().int().min(2).max(4096).default(32).describe('calls of the denoiser behind every number'),
    gate: z
      .strictObject({
        fine: z.number().positive().default(0.15),
        doomed: z.number().positive().default(0.21),
        stop: z.boolean().default(false).describe('refuse a doomed run instead of warning'),
      })
      .prefault({})
      .describe(
        "median relative L2 error of the layers' outputs below which a run is fine and above which it is doomed (from two published models: a rule of thumb)",
      ),
  })
  .prefault({});

export const mixedPrecisionSettingsSchema = z
  .strictObject({
    method: z
      .enum(['none', 'greedy', 'integer-programme'])
      .default('none')
      .describe('how bits per layer are chosen from the sensitivity scan'),
    objective: z
      .enum(['output', 'guided'])
      .default('output')
      .describe(
        'which error is made small: of the network output, or of the guided prediction with timesteps weighed by their effect',
      ),
    minimumCoverage: z
      .number()
      .min(0)
      .max(1)
      .nullable()
      .default(0.98)
      .describe(
        "share of the multiply-adds of layers with weights that stays at the recipe's low bits; null: no such budget",
      ),
    megabytes: z.number().positive().nullable().default(null).describe('most the denoiser may be estimated to take'),
    edges: z.boolean().default(false).describe('also choose the bits of the first and the last layer'),
  })
  .prefault({});

interface SensitivityRecipe {
  readonly sensitivity: z.output<typeof sensitivitySettingsSchema>;
  readonly mixedPrecision: z.output<typeof mixedPrecisionSettingsSchema>;
}

/** Mixed precision chooses from what the scan measured, within a budget; a gate judges by the scan. */
export function checkMixedPrecision(
  { sensitivity, mixedPrecision: { method, minimumCoverage, megabytes } }: SensitivityRecipe,
  context: z.RefinementCtx,
): void {
  const refuse = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message });
  const { enabled, gate } = sensitivity;
  if (gate.stop && !enabled) refuse(['sensitivity', 'gate'], 'stop needs the scan: set sensitivity.enabled');
  if (gate.fine > gate.doomed) refuse(['sensitivity', 'gate'], 'fine lies above doomed: a run would be both');
  if (method === 'none') return;
  if (!enabled || sensitivity.bits.length === 0) {
    refuse(
      ['mixedPrecision'],
      'mixed precision needs the sensitivity scan: set sensitivity.enabled and sensitivity.bits',
    );
  }
  if (minimumCoverage === null && megabytes === null) {
    refuse(
      ['mixedPrecision'],
      'mixed precision without a budget would give every layer the most bits: set minimumCoverage or megabytes',
    );
  }
}
