import { basename } from 'node:path';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { PictureScores } from '../contracts/picture-scores.js';
import type { Recipe } from '../contracts/recipe.js';
import type { RunSummary, StageRow } from '../contracts/run-summary.js';
import type { RunSpec } from '../contracts/stages.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import { scoresOf } from '../evaluation/pipeline-score-rows.js';
import type { PipelineScores } from '../evaluation/pipeline-scores.js';
import { coverageData, layerRows } from '../evaluation/report/layer-rows.js';
import type {
  FinetuningData,
  LatencyData,
  PromptExtremes,
  ReportData,
  SampleSheet,
  ScoreRole,
  SizeData,
} from '../evaluation/report/report-data.js';
import { type RoledScores, scoreTableData, timestepSeries } from '../evaluation/report/score-columns.js';
import { sizeParts } from '../evaluation/report/size-parts.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import { componentBytes } from '../models/pipelines/open-component.js';
import { readSafetensors } from '../models/tensors/safetensors.js';
import { bytesByPart } from '../quantization/conversion/bytes-by-part.js';
import { weightBytes } from '../quantization/conversion/weight-bytes.js';
import { bitsLabel } from '../quantization/coverage.js';
import type { CurvePoint } from '../quantization/finetuning/finetuning-state.js';
import type { QuantizationPlan } from '../quantization/layer-plan.js';
import { loadPlan, loadPrompts } from './load-artifacts.js';
import { packageVersion } from './package-file.js';
import { extremePrompts, picturesAt, sampleSheet } from './sample-sheet.js';
import { sensitivityData } from './sensitivity-data.js';
import type { LocalStore } from './store/local-store.js';
import { loadPipeline } from './stored-pipeline.js';

export interface ReportInput {
  readonly spec: RunSpec;
  readonly workflowId: string;
  readonly runId: string;
  /** By `<stage id>.<result field>`, as the workflow collects them. */
  readonly artifacts: Readonly<Record<string, ArtifactRef>>;
  readonly summary: RunSummary;
  readonly facts: Readonly<Record<string, string>>;
}

/** Evaluations by the stage that made them. */
const EVALUATIONS = [
  ['evaluate-floor', 'floor'],
  ['evaluate-before', 'before'],
  ['evaluate', 'after'],
] as const;

export interface CollectedReport {
  readonly data: ReportData;
  /** The sample grid as a PNG; null for pictures without three channels. */
  readonly samples: Uint8Array | null;
  readonly evaluations: readonly RoledScores[];
  /** Same-seed values of every picture of the shipped pipeline; null when nothing was evaluated. */
  readonly pictures: PictureScores | null;
}

/** Everything the report shows, from the artifacts of a run. */
export async function reportData(store: LocalStore, input: ReportInput): Promise<CollectedReport> {
  const { spec, artifacts, summary, facts } = input;
  const evaluations = await loadEvaluations(store, artifacts);
  const shipped = evaluations.at(-1)?.scores;
  const plan = await loadPlan(
    store,
    artifacts['mixed-precision.plan'] ?? artifacts['arrange.plan'] ?? needed(artifacts, 'plan.plan'),
  );
  const prompts = (await loadPrompts(store, needed(artifacts, 'import.prompts'))).evaluation;
  const sheets = await sheetsOf(store, artifacts, prompts, shipped);
  const errors = new Map((shipped?.layers ?? []).map(({ name, error }) => [name, error]));
  const size = await sizeOf(store, artifacts, plan);
  const data: ReportData = {
    pipeline: spec.pipelineName,
    scheme: schemeOf(spec),
    scores: scoreTableData(evaluations),
    compute: spec.compute,
    scoreList:
      shipped === undefined ? [] : scoresOf(shipped, floorOf(evaluations), spec.recipe.evaluation.timestepPairs),
    size: size.data,
    coverage: { ...coverageData(plan, bitsLabel), ...(summary.branches ? { branches: summary.branches } : {}) },
    notices: plan.notices,
    samples: sheets?.samples.sheet,
    extremes: sheets?.extremes,
    timestepSqnr: timestepSeries(evaluations),
    layers: layerRows(plan, errors, size.byLayer),
    layerTimesteps: shipped?.layerTimesteps ?? undefined,
    latency: await latencyOf(store, artifacts),
    sensitivity: await sensitivityData({
      store,
      artifacts,
      plan,
      recipe: spec.recipe,
      choice: summary.stages.find(({ id }) => id === 'mixed-precision')?.summary ?? null,
    }),
    finetuning: await finetuningOf(store, artifacts, summary),
    stages: summary.stages.filter(({ state }) => state === 'done' || state === 'reused').map(stageOf),
    environment: environmentOf(facts),
    recipe: withoutMachinePaths(spec.recipe),
    run: { workflowId: input.workflowId, runId: input.runId },
  };
  const pictures = shipped === undefined ? null : pictureScores(spec, prompts, shipped);
  return { data, samples: sheets?.samples.png ?? null, evaluations, pictures };
}

async function latencyOf(store: LocalStore, artifacts: ReportInput['artifacts']): Promise<LatencyData | undefined> {
  const ref = artifacts['latency.latency'];
  return ref === undefined ? undefined : ((await store.getJson(ref)) as LatencyData);
}

function floorOf(evaluations: readonly RoledScores[]): PipelineScores | null {
  return evaluations.find(({ role }) => role === 'floor')?.scores ?? null;
}

function pictureScores({ recipe, sourceDigest }: RunSpec, prompts: readonly string[], scores: PipelineScores) {
  const { psnrDb, ssim, samples } = scores;
  return {
    schemaVersion: 1 as const,
    prompts: prompts.slice(0, samples),
    seed: recipe.evaluation.seed,
    steps: recipe.sampling.steps,
    guidance: recipe.sampling.guidance,
    float: sourceDigest,
    values: { psnr: [...psnrDb], ssim: [...ssim] },
  };
}

/** The recipe as it is shown to others: the prompts' file without the folders of this machine. */
export function withoutMachinePaths(recipe: Recipe): Recipe {
  const { file } = recipe.prompts;
  return { ...recipe, prompts: { ...recipe.prompts, file: file === null ? null : basename(file) } };
}

/** `W4A4` from the recipe's bits. */
function schemeOf({ recipe }: RunSpec): string {
  return `W${recipe.weights.bits}A${recipe.activations.bits}`;
}

/** The artifact of that name. Throws RangeError when the run has none. */
export function needed(artifacts: ReportInput['artifacts'], name: string): ArtifactRef {
  const found = artifacts[name];
  if (found === undefined) throw new RangeError(`the run has no artifact ${name}`);
  return found;
}

async function loadEvaluations(store: LocalStore, artifacts: ReportInput['artifacts']): Promise<RoledScores[]> {
  const found: RoledScores[] = [];
  for (const [id, role] of EVALUATIONS) {
    const ref = artifacts[`${id}.scores`];
    if (ref === undefined) continue;
    found.push({ role: shownRole(role, artifacts), scores: (await store.getJson(ref)) as PipelineScores });
  }
  return found;
}

/** Without finetuning the shipped folder is the one before it. */
function shownRole(role: ScoreRole, artifacts: ReportInput['artifacts']): ScoreRole {
  return role === 'after' && artifacts['finetune.parameters'] === undefined ? 'before' : role;
}

interface Sheets {
  readonly samples: { readonly png: Uint8Array; readonly sheet: SampleSheet };
  readonly extremes: PromptExtremes | undefined;
}

async function sheetsOf(
  store: LocalStore,
  artifacts: ReportInput['artifacts'],
  prompts: readonly string[],
  scores: PipelineScores | undefined,
): Promise<Sheets | null> {
  const { tensors } = readSafetensors(await store.get(needed(artifacts, 'evaluate.images')));
  const [float, images] = [tensors.get('float'), tensors.get('images')];
  if (float?.dims[3] !== 3 || images === undefined) return null;
  const sides = { float: float as Images, candidate: images as Images };
  const extremes = await extremePrompts({
    values: scores?.psnrDb ?? [],
    metric: 'PSNR',
    unit: 'dB',
    better: 'higher',
    prompts,
    read: async (indices) => ({
      float: picturesAt(sides.float, indices),
      candidate: picturesAt(sides.candidate, indices),
    }),
  });
  return { samples: await sampleSheet(sides.float, sides.candidate, prompts), extremes };
}

async function sizeOf(
  store: LocalStore,
  artifacts: ReportInput['artifacts'],
  plan: QuantizationPlan,
): Promise<{ data: SizeData; byLayer: ReadonlyMap<string, number> }> {
  const source = await loadPipeline(store, needed(artifacts, 'import.pipeline'));
  const shipped = await loadPipeline(store, needed(artifacts, 'convert.pipeline'));
  const quantizedBytes = shipped.files.read(shipped.denoiser.modelPath).byteLength;
  const graph = readComponentGraph(shipped.files, shipped.denoiser);
  const parts = bytesByPart(graph, quantizedBytes);
  const data = {
    floatBytes: componentBytes(source.files, source.denoiser),
    quantizedBytes,
    parts: sizeParts(parts),
  };
  const sizes = plan.layers.flatMap(({ name, node }): [string, number][] => {
    const size = weightBytes(graph, node);
    return size === undefined ? [] : [[name, size]];
  });
  return { data, byLayer: new Map(sizes) };
}

async function finetuningOf(
  store: LocalStore,
  artifacts: ReportInput['artifacts'],
  { validation, training }: RunSummary,
): Promise<FinetuningData | undefined> {
  const ref = artifacts['finetune.parameters'];
  if (ref === undefined || validation === null || training === null) return undefined;
  const { metadata } = readSafetensors(await store.get(ref));
  const curve = JSON.parse(metadata.curve ?? '[]') as CurvePoint[];
  const best = curve.reduce<CurvePoint | undefined>(
    (found, point) => (found !== undefined && found.validation <= point.validation ? found : point),
    undefined,
  );
  const phases = [...new Set(curve.map(({ phase }) => phase))].filter((name) => name !== 'start');
  const lastBefore = (name: string): number => {
    const index = curve.findIndex(({ phase }) => phase === name);
    return curve[index - 1]?.step ?? 0;
  };
  return {
    validation,
    training,
    bestStep: best?.step,
    phases: phases.map((name) => ({ name, step: lastBefore(name) })),
    curve: curve.map((point) => ({
      step: point.step,
      validation: point.validation,
      training: point === curve[0] ? training.before : point === best ? training.after : null,
    })),
  };
}

function stageOf({ title, seconds, state, summary }: StageRow) {
  return { name: title, seconds, reused: state === 'reused', summary };
}

function environmentOf(facts: Readonly<Record<string, string>>) {
  const versions = { nibbleflow: packageVersion(), node: process.version, ...facts };
  return Object.entries(versions).map(([label, value]) => ({ label, value }));
}
