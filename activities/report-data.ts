import { basename } from 'node:path';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { PictureScores } from '../contracts/picture-scores.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Recipe } from '../contracts/recipe.js';
import { evaluationLabel, type RunSummary, type StageRow } from '../contracts/run-summary.js';
import type { Score } from '../contracts/score.js';
import type { RunSpec } from '../contracts/stages.js';
import type { DenoiserComparison } from '../evaluation/denoiser-comparison.js';
import type { EvaluationDetails } from '../evaluation/evaluation-details.js';
import { significant } from '../evaluation/report/format-number.js';
import { coverageData, layerRows } from '../evaluation/report/layer-rows.js';
import type { FinetuningData, LatencyData, ReportData, SizeData } from '../evaluation/report/report-data.js';
import { differenceSeries, frechetOf, type RoledScores, scoreTableData } from '../evaluation/report/score-columns.js';
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
import { sampleSheets } from './sample-sheet.js';
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
  /** The sample grid as a PNG. */
  readonly samples: Uint8Array;
  readonly evaluations: readonly RoledScores[];
  /** Fréchet distance of the float pictures to the reference; null without one. */
  readonly floatToReference: number | null;
  readonly protocol: StoredProtocol;
  /** Same-seed values of every picture of the shipped pipeline. */
  readonly pictures: PictureScores;
}

/** What protocol.json holds. */
export type StoredProtocol = Protocol & { readonly digest: string };

/** Everything the report shows, from the artifacts of a run. */
export async function reportData(store: LocalStore, input: ReportInput): Promise<CollectedReport> {
  const { spec, artifacts, summary, facts } = input;
  const evaluations = await loadEvaluations(store, artifacts);
  const shipped = evaluations.at(-1);
  if (shipped === undefined) throw new RangeError('the run has no evaluation');
  const floatToReference = await floatToReferenceOf(store, artifacts);
  const comparison = (await store.getJson(needed(artifacts, 'evaluate.comparison'))) as DenoiserComparison;
  const { digest, ...settings } = await loadProtocol(store, artifacts);
  const plan = await loadPlan(
    store,
    artifacts['mixed-precision.plan'] ?? artifacts['arrange.plan'] ?? needed(artifacts, 'plan.plan'),
  );
  const prompts = (await loadPrompts(store, needed(artifacts, 'import.prompts'))).evaluation;
  const sheets = await sampleSheets(
    store,
    { float: needed(artifacts, 'evaluate-floor.floatImages'), candidate: needed(artifacts, 'evaluate.images') },
    prompts,
    shipped.details.pictures.psnr ?? [],
  );
  const errors = new Map(comparison.layers.map(({ name, error }) => [name, error]));
  const size = await sizeOf(store, artifacts, plan);
  const data: ReportData = {
    pipeline: spec.pipelineName,
    scheme: schemeOf(spec),
    scores: scoreTableData(evaluations, floatToReference),
    compute: spec.compute,
    scoreList: withFloatBeside(shipped.scores, floatToReference),
    protocol: { settings, digest },
    size: size.data,
    coverage: { ...coverageData(plan, bitsLabel), ...(summary.branches ? { branches: summary.branches } : {}) },
    notices: [...(plan.notices ?? []), ...shipped.details.notes],
    samples: sheets.samples.sheet,
    extremes: sheets.extremes,
    ...differenceSeries(evaluations.map(({ role, label, details }) => ({ role, label, points: details.candidate }))),
    layers: layerRows(plan, errors, size.byLayer),
    layerTimesteps: comparison.layerTimesteps,
    drift: comparison.drift ?? undefined,
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
  return {
    ...{ data, samples: sheets.samples.png, evaluations, floatToReference, protocol: { ...settings, digest } },
    pictures: pictureScores(spec, prompts, shipped.details),
  };
}

async function latencyOf(store: LocalStore, artifacts: ReportInput['artifacts']): Promise<LatencyData | undefined> {
  const ref = artifacts['latency.latency'];
  return ref === undefined ? undefined : ((await store.getJson(ref)) as LatencyData);
}

/** Settings of the evaluations, as protocol.json holds them. */
async function loadProtocol(store: LocalStore, artifacts: ReportInput['artifacts']): Promise<StoredProtocol> {
  return (await store.getJson(needed(artifacts, 'evaluate-floor.protocol'))) as StoredProtocol;
}

async function floatToReferenceOf(store: LocalStore, artifacts: ReportInput['artifacts']): Promise<number | null> {
  const ref = artifacts['evaluate-floor.floatScores'];
  return ref === undefined ? null : frechetOf((await store.getJson(ref)) as Score[]).toReference;
}

/** Distances to the reference say how far the float pictures are from it. */
function withFloatBeside(scores: readonly Score[], floatToReference: number | null): Score[] {
  if (floatToReference === null) return [...scores];
  const note = `the float pictures themselves are ${significant(floatToReference)} from the reference`;
  return scores.map((score) =>
    score.metric === 'frechet' && score.against === 'reference' ? { ...score, notes: [...score.notes, note] } : score,
  );
}

function pictureScores(
  { recipe, sourceDigest }: RunSpec,
  prompts: readonly string[],
  { pictures }: EvaluationDetails,
): PictureScores {
  return {
    schemaVersion: 1,
    prompts: prompts.slice(0, recipe.evaluation.samples),
    seed: recipe.evaluation.seed,
    steps: recipe.sampling.steps,
    guidance: recipe.sampling.guidance,
    float: sourceDigest,
    values: Object.fromEntries(Object.entries(pictures).map(([metric, values]) => [metric, [...values]])),
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
  const finetunes = artifacts['finetune.parameters'] !== undefined;
  for (const [id, role] of EVALUATIONS) {
    const [scores, details] = [artifacts[`${id}.scores`], artifacts[`${id}.details`]];
    if (scores === undefined || details === undefined) continue;
    const comparison = artifacts[`${id}.comparison`];
    found.push({
      // Without finetuning the shipped folder is the one before it.
      role: role === 'after' && !finetunes ? 'before' : role,
      label: evaluationLabel(id, finetunes),
      scores: (await store.getJson(scores)) as Score[],
      details: (await store.getJson(details)) as EvaluationDetails,
      arithmetic:
        comparison === undefined ? 'float' : ((await store.getJson(comparison)) as DenoiserComparison).arithmetic,
    });
  }
  return found;
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
