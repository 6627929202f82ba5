import { z } from 'zod';

/** Distances between distributions need 2 · 50 pictures at least, as the rules of evaluation have it. */
export const FEWEST_FOR_DISTANCES = 50;

/** Settings of metrics that change numbers. */
export const metricSettingsSchema = z.strictObject({
  seed: z.number().int().nonnegative().default(7).describe('of subsets, random directions, permutations and resamples'),
  neighbours: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(5)
    .describe('nearest neighbours of precision, recall, density, coverage and the out-of-distribution rate'),
  kidSubsets: z.number().int().min(1).max(10_000).default(100),
  kidSubsetSize: z.number().int().min(2).max(100_000).default(1000).describe('pictures per subset, at most n'),
  projections: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(1000)
    .describe('random directions of MIND and the sliced Wasserstein distance'),
  splits: z.number().int().min(1).max(1000).default(10).describe('of the Inception score'),
  permutations: z
    .number()
    .int()
    .min(0)
    .max(100_000)
    .default(200)
    .describe('behind the p-value of "quantized = float"; 0: none'),
  resamples: z.number().int().min(10).max(100_000).default(1000).describe('of a bootstrap'),
});

export type MetricSettings = z.output<typeof metricSettingsSchema>;

/** Everything that decides an evaluation's numbers beside the pictures' models; a file, or a built-in name. */
export const protocolSchema = z.strictObject({
  name: z.string().min(1),
  samples: z.number().int().min(2).max(50_000).default(256).describe('pictures; part of the name of every score'),
  seed: z.number().int().nonnegative().default(1000).describe('picture i starts from noise (seed, i)'),
  sampling: z
    .strictObject({
      steps: z.number().int().min(1).max(1000).default(20),
      guidance: z
        .number()
        .min(0)
        .max(100)
        .nullable()
        .default(null)
        .describe('null: as the pipeline was quantized, else 1.5'),
    })
    .prefault({}),
  prompts: z
    .string()
    .nullable()
    .default(null)
    .describe('a .txt (a prompt a line) or .json file; null: those of the pipeline folder, else the bundled captions'),
  extractor: z
    .string()
    .default('cifar10-resnet')
    .describe('an imported or bundled extractor by name, or a folder with extractor.json and model.onnx'),
  resize: z
    .enum(['extractor', 'clean', 'legacy'])
    .default('extractor')
    .describe('how pictures get the size of the extractor: as it says, or as clean-fid calls it'),
  images: z.enum(['packed', 'png']).default('packed').describe('how sampled pictures are stored'),
  metrics: z
    .array(z.string())
    .default(['frechet', 'sfid', 'kid', 'inception-score', 'prdc', 'mind', 'visual-dna', 'ood-rate', 'lpips'])
    .describe('rows of the metric table; same-seed metrics are always computed'),
  trajectories: z
    .number()
    .int()
    .min(0)
    .max(4096)
    .default(256)
    .describe('pictures whose latents are compared at every timestep'),
  timestepPairs: z
    .number()
    .int()
    .min(16)
    .max(100_000)
    .default(256)
    .describe('(picture, step, branch) triples of the denoiser error and of the activation drift'),
  settings: metricSettingsSchema.prefault({}),
});

export type Protocol = z.output<typeof protocolSchema>;
