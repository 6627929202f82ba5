import { protocolSchema } from '../../../contracts/protocol.js';
import { recipeSchema } from '../../../contracts/recipe.js';
import type {
  LatencyRow,
  LayerRow,
  ReportData,
  SampleSheet,
  ScoreColumn,
  ScoreRole,
} from '../../../evaluation/report/report-data.js';
import { scoreList } from './score-fixture.js';

/** A one-pixel PNG. */
export const PNG_URI =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

export function scoreColumn(role: ScoreRole, label: string, psnrDb: number): ScoreColumn {
  return {
    role,
    label,
    samples: 64,
    psnrDb,
    psnrInterval: { low: psnrDb - 0.5, high: psnrDb + 0.5 },
    psnrP10Db: psnrDb - 2,
    ssim: 0.8123,
    latentSqnrDb: 14.25,
    frechetToFloat: 0.0935,
    frechetToReference: 1.5612,
    denoiserRelativeMse: role === 'floor' ? null : 0.0356,
  };
}

/** A sheet of one-pixel pictures with these captions. */
function sheet(captions: readonly string[], note?: string): SampleSheet {
  const cells = captions.map((prompt, i) => ({
    prompt,
    x: 12,
    y: 32 + 108 * i,
    width: 292,
    height: 96,
    ...(note === undefined ? {} : { note }),
  }));
  return { pngDataUri: PNG_URI, width: 320, height: 42 + 108 * captions.length, cells };
}

function latencyRow(label: string, simulated: boolean): LatencyRow {
  const times = { medianMs: 12.5, fastestMs: 11.25, slowestMs: 14, calls: 9 };
  return { label, ...times, kernels: 'float32 CPU kernels', device: 'cpu', threads: 2, simulated };
}

/** As many layers as a large model has, with names as exporters make them. */
export function manyLayers(count: number): LayerRow[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `down_blocks.${i % 4}.attentions.${i % 3}.transformer_blocks.${i}.attn1.to_out.0.projection_of_values.MatMul`,
    role: 'linear' as const,
    op: 'MatMul',
    weightBits: 4,
    activationBits: 4,
    scheme: 'group 64 mse · timestep 16 groups signed, first token float',
    parameters: 1_638_400 + i,
    macs: 1.6e9 + i,
    floatBytes: 6_553_600 + 4 * i,
    bytes: 870_400 + i,
    error: 0.01 + (i % 50) / 1000,
    skipped: null,
  }));
}

/** Every part present; `hostile` is put wherever a text can come from a user, a model or a machine. */
export function fullReport(hostile = 'plain'): ReportData {
  const columns = [
    scoreColumn('floor', `float ${hostile}`, 24.75),
    scoreColumn('before', 'before', 22),
    scoreColumn('after', 'after', 23.25),
  ];
  return {
    pipeline: `emoji ${hostile}`,
    scheme: 'W4A4',
    compute: { device: 'cpu', threads: 2 },
    scores: {
      columns,
      frechetName: 'frechet[cifar10-resnet@1a2b3c4d]',
      referenceCount: 1640,
      floatToReference: 0.417,
      paired: { psnrDb: { mean: 1.25, low: 1.01, high: 1.49 }, n: 64 },
    },
    size: {
      floatBytes: 15_700_000,
      quantizedBytes: 2_500_000,
      parts: [{ label: `scales ${hostile}`, bytes: 230_000 }],
    },
    coverage: {
      layers: 0.976,
      parameters: 0.991,
      macs: 0.962,
      byBits: [{ bits: `w4a4 ${hostile}`, layers: 81, parameters: 3.9e6, macs: 4e8 }],
    },
    scoreList: scoreList(hostile),
    subjects: [{ label: `reference ${hostile}`, value: hostile }],
    protocol: {
      settings: protocolSchema.parse({ name: hostile, extractor: hostile }),
      digest: 'ab'.repeat(32),
    },
    samples: sheet([hostile, '']),
    extremes: {
      metric: 'PSNR',
      unit: 'dB',
      better: 'higher',
      n: 64,
      worst: sheet([hostile, 'a crab'], `14.2 dB ${hostile}`),
      best: sheet(['a moon', hostile], '31.5 dB'),
    },
    trajectoryError: [
      {
        role: 'after',
        label: `after ${hostile}`,
        points: [999, 499, 49].map((timestep, i) => ({ timestep, error: 0.03 * 2 ** i })),
      },
    ],
    latency: { batch: 8, rows: [latencyRow('float', false), latencyRow(`candidate ${hostile}`, true)] },
    drift: {
      layers: ['conv_large', hostile],
      timesteps: [999, 49],
      errors: [
        [0.2, 0.4],
        [0.05, 0.01],
      ],
      note: `earth mover’s distance ${hostile}`,
    },
    timestepSqnr: [
      {
        role: 'after',
        label: `after ${hostile}`,
        points: [999, 499, 49].map((timestep, i) => ({ timestep, sqnrDb: 30 - 5 * i })),
      },
    ],
    layers: [
      {
        name: `conv_small.${hostile}`,
        role: 'convolution',
        op: 'Conv',
        weightBits: 4,
        activationBits: 4,
        scheme: 'group 64 mse · dynamic 64',
        parameters: 36_864,
        macs: 9.4e6,
        floatBytes: 147_456,
        bytes: 20_736,
        error: 0.002,
        skipped: null,
      },
      {
        name: 'conv_large',
        role: 'shortcut',
        op: 'Conv',
        weightBits: 8,
        activationBits: 8,
        scheme: 'channel',
        parameters: 2048,
        macs: 1e6,
        error: 0.03,
        skipped: null,
      },
      {
        name: 'left_out',
        role: 'linear',
        op: 'MatMul',
        weightBits: null,
        activationBits: null,
        scheme: '',
        parameters: 10,
        macs: 10,
        error: null,
        skipped: `because ${hostile}`,
      },
    ],
    layerTimesteps: {
      layers: ['conv_large', hostile],
      timesteps: [999, 49],
      errors: [
        [0.01, 0.03],
        [0.001, 0],
      ],
    },
    sensitivity: {
      gate: `median layer error 0.1 ${hostile}`,
      bits: [4, 8],
      items: 32,
      choice: hostile,
      layers: [
        {
          name: `conv_small.${hostile}`,
          macsShare: 0.9,
          weights: 0.001,
          activations: 0.002,
          ownError: 0.1,
          bits: '4 × 4',
          reason: hostile,
        },
        {
          name: 'conv_large',
          macsShare: 0.1,
          weights: 0.02,
          activations: 0.01,
          ownError: 0.2,
          bits: '8 × 8',
          reason: 'alone it cost 3 %',
        },
        {
          name: 'product',
          macsShare: 0,
          weights: null,
          activations: 0.0001,
          ownError: 0.01,
          bits: 'a × 8',
          reason: '',
        },
      ],
    },
    finetuning: {
      validation: { before: 0.071, after: 0.036 },
      training: { before: 0.069, after: 0.027 },
      bestStep: 100,
      phases: [{ name: hostile, step: 0 }],
      curve: [0, 50, 100].map((step) => ({ step, training: 0.07 - step * 4e-4, validation: 0.071 - step * 3.5e-4 })),
    },
    stages: [
      { name: 'import', seconds: 0, reused: true, summary: hostile },
      { name: 'finetune', seconds: 240, reused: false },
    ],
    environment: [{ label: hostile, value: hostile }],
    recipe: recipeSchema.parse({
      overrides: [{ layers: hostile, skip: true }],
      finetuning: { phases: [{ name: hostile, layers: ['time-embedding'], steps: 10 }] },
    }),
    run: {
      workflowId: `quantize ${hostile}`,
      runId: hostile,
      url: 'http://127.0.0.1:8233/run?a=1&b=2',
      finished: hostile,
    },
  };
}

/** What an evaluation of a folder shows: a list of scores instead of columns, and no recipe. */
export function evaluationReport(hostile = 'plain'): ReportData {
  const {
    pipeline,
    compute,
    scoreList: scores,
    subjects,
    protocol,
    extremes,
    latency,
    drift,
    run,
  } = fullReport(hostile);
  const parts = { pipeline, compute, scoreList: scores, subjects, protocol, extremes, latency, drift, run };
  return { kind: 'evaluation', scheme: 'candidate', scores: { columns: [] }, ...parts };
}

/** Only what is required. */
export function smallReport(): ReportData {
  return { pipeline: 'tiny', scheme: 'W4A4', compute: { device: 'webgpu', threads: 1 }, scores: { columns: [] } };
}
