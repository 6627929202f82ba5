import { stringify } from 'yaml';
import type { Recipe } from '../../contracts/recipe.js';
import { branchSentence } from './branch-sentence.js';
import { bytes, count, duration, fixed, percent, significant } from './format-number.js';
import { webAddress } from './html.js';
import { kernelNote } from './kernel-note.js';
import type { ReportData, ScoreColumn } from './report-data.js';
import { scoreNotes } from './score-rows.js';
import { markdownCell, scoreTable } from './score-table.js';
import { shippedColumn, verdict } from './verdict.js';

export interface ModelCardExtras {
  /** Of the float model, an SPDX identifier; left out when unknown. */
  readonly license?: string;
  /** Hub name or address of the float model; default: the pipeline's name. */
  readonly baseModel?: string;
}

/** README.md of the quantized folder: YAML front matter, what was done, what it cost. No HTML; texts cannot break out. */
export function renderModelCard(data: ReportData, extras: ModelCardExtras = {}): string {
  const sections = [
    `# ${markdownCell(data.pipeline)} in ${markdownCell(data.scheme)}`,
    markdownCell(verdict(data)),
    '## What was done',
    bullets(whatWasDone(data)),
    '## What it cost',
    scoreTable({ ...data.scores, paired: null }, 'markdown'),
    bullets(scoreNotes(data.scores).map(markdownCell)),
    bullets(costs(data)),
    '## How it computes',
    `${kernelNote(data.compute.device)} The denoiser uses standard ONNX operators of opset 21 and loads in a stock onnxruntime.`,
    bullets((data.notices ?? []).map(markdownCell)),
    ...(data.run === undefined ? [] : ['## Provenance', bullets(provenance(data.run))]),
  ];
  return `---\n${stringify(frontMatter(data, extras))}---\n\n${sections.filter((text) => text !== '').join('\n\n')}\n`;
}

function frontMatter(data: ReportData, extras: ModelCardExtras): Record<string, unknown> {
  const shipped = shippedColumn(data.scores);
  return {
    ...(extras.license === undefined ? {} : { license: extras.license }),
    base_model: extras.baseModel ?? data.pipeline,
    base_model_relation: 'quantized',
    library_name: 'onnx',
    tags: ['diffusion', 'onnx', 'quantized', data.scheme.toLowerCase(), 'nibbleflow'],
    quantization: quantization(data),
    metrics: shipped === undefined ? [] : metrics(shipped, data.scores.frechetName ?? 'frechet'),
  };
}

function quantization(data: ReportData): Record<string, unknown> {
  const { recipe, coverage, size } = data;
  return {
    method: data.scheme,
    ...(recipe && {
      recipe: recipe.name,
      weights: recipe.weights,
      activations: recipe.activations,
      edges: recipe.edges,
      attention: recipe.attention,
      transforms: recipe.transforms,
    }),
    ...(coverage && {
      coverage: { layers: coverage.layers, parameters: coverage.parameters, multiply_adds: coverage.macs },
      ...(coverage.branches && {
        float_branches: {
          layers: coverage.branches.layers,
          extra_multiply_adds: coverage.branches.macs,
          bytes: coverage.branches.bytes,
        },
      }),
    }),
    ...(size && { float_bytes: size.floatBytes, quantized_bytes: size.quantizedBytes }),
  };
}

function metrics(column: ScoreColumn, frechet: string): { name: string; value: number; samples: number }[] {
  const entries: [string, number | null][] = [
    ['psnr-to-float-db', column.psnrDb],
    ['ssim-to-float', column.ssim],
    ['latent-sqnr-db', column.latentSqnrDb],
    [`${frechet}-to-float`, column.frechetToFloat],
    [`${frechet}-to-reference`, column.frechetToReference],
    ['denoiser-relative-mse', column.denoiserRelativeMse],
  ];
  return entries.flatMap(([name, value]) => (value === null ? [] : [{ name, value, samples: column.samples }]));
}

function whatWasDone({ recipe, finetuning }: ReportData): string[] {
  if (recipe === undefined) return [];
  return [
    weightSentence(recipe),
    activationSentence(recipe),
    ...transformSentences(recipe),
    ...reconstructionSentences(recipe),
    ...finetuningSentences(recipe, finetuning),
  ];
}

function weightSentence({ weights, edges }: Recipe): string {
  const scales =
    weights.granularity === 'channel' ? 'per output channel' : `per output channel and ${weights.groupSize} inputs`;
  return `Weights: signed ${weights.bits}-bit integers with one scale ${scales} (${weights.range}); the first and the last layer have ${edges.bits} bits.`;
}

function activationSentence({ activations, attention }: Recipe): string {
  const { granularity, grouping } = activations;
  const of =
    grouping.method === 'kmeans' ? `group of channels or pixels (at most ${grouping.groups} a tensor)` : granularity;
  const ranges = {
    static: `one calibrated range per ${of}`,
    timestep: `a calibrated range per ${of} and timestep, picked inside the graph`,
    dynamic: `a range found at run time for every ${activations.groupSize === null ? 'pixel or token' : `${activations.groupSize} channels`}`,
  }[activations.ranges];
  const products = attention.bits === null ? 'stay float' : `have ${attention.bits} bits`;
  const logarithmic = {
    uniform: '',
    log2: ', probabilities powers of two',
    'log-sqrt2': ', probabilities powers of √2',
  };
  const first = attention.keepFirstToken ? ', the start token of cross-attention stays float' : '';
  return `Activations: ${activations.bits}-bit integers, ${ranges}; the inputs of the two attention products ${products}${logarithmic[attention.probabilities]}${first}.`;
}

function transformSentences({ transforms, calibration, sampling }: Recipe): string[] {
  const rewritten =
    transforms.length === 0
      ? []
      : [`Rewritten beforehand without changing the float output: ${transforms.join(', ')}.`];
  return [
    ...rewritten,
    `Calibrated on ${calibration.trajectories} float trajectories of ${sampling.steps} steps at guidance ${sampling.guidance}; none of its prompts and seeds is among the evaluated ones.`,
  ];
}

function reconstructionSentences({ reconstruction }: Recipe): string[] {
  if (!reconstruction.enabled) return [];
  const scales = reconstruction.scales === 'none' ? '' : ', with the scales of activations that no other block reads';
  return [
    `Rounded block by block: which weights go up and which down was learned in ${reconstruction.steps} steps of each block on ${reconstruction.samples} calls of the denoiser${scales}. A block keeps nearest rounding where learning did not lower its error on held-back calls.`,
  ];
}

function finetuningSentences({ finetuning }: Recipe, result: ReportData['finetuning']): string[] {
  if (!finetuning.enabled || result === undefined) return ['Not finetuned.'];
  const names = finetuning.phases.map(({ name }) => markdownCell(name)).join(', then ');
  return [
    `Finetuned${names === '' ? '' : ` in phases: ${names}`}. Relative error of the network output on held-back prompts: ${significant(
      result.validation.before,
    )} before, ${significant(result.validation.after)} after.`,
  ];
}

function costs({ size, coverage, stages, compute }: ReportData): string[] {
  const lines: string[] = [];
  if (size) {
    lines.push(
      `Denoiser: ${bytes(size.quantizedBytes)} instead of ${bytes(size.floatBytes)} (1/${fixed(size.floatBytes / size.quantizedBytes, 1)}).`,
    );
    for (const part of size.parts ?? []) lines.push(`Of it ${markdownCell(part.label)}: ${count(part.bytes)} bytes.`);
  }
  if (coverage) {
    lines.push(
      `At the low bits: ${percent(coverage.layers)} of the layers, ${percent(coverage.parameters)} of the weights, ${percent(coverage.macs)} of the multiply-adds.`,
    );
    if (coverage.branches) lines.push(branchSentence(coverage.branches));
  }
  if (stages) {
    const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
    lines.push(`Work of this run: ${duration(seconds)} on ${compute.device} with ${compute.threads} threads.`);
  }
  return lines;
}

function provenance(run: NonNullable<ReportData['run']>): string[] {
  const url = webAddress(run.url);
  return [
    `Workflow ${markdownCell(run.workflowId)}${run.runId === undefined ? '' : `, run ${markdownCell(run.runId)}`}.`,
    ...(run.finished === undefined ? [] : [`Finished ${markdownCell(run.finished)}.`]),
    ...(url === undefined ? [] : [`Run page while its server runs: <${url}>`]),
  ];
}

function bullets(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}`).join('\n');
}
