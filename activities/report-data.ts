import { basename } from 'node:path';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { Recipe } from '../contracts/recipe.js';
import type { RunSummary, StageRow } from '../contracts/run-summary.js';
import type { RunSpec } from '../contracts/stages.js';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import type { PipelineScores } from '../evaluation/pipeline-scores.js';
import { coverageData, layerRows } from '../evaluation/report/layer-rows.js';
import type { FinetuningData, ReportData, SampleSheet, ScoreRole, SizeData } from '../evaluation/report/report-data.js';
import { type RoledScores, scoreTableData, timestepSeries } from '../evaluation/report/score-columns.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import { componentBytes } from '../models/pipelines/open-component.js';
import { readSafetensors } from '../models/tensors/safetensors.js';
import { bytesByPart } from '../quantization/conversion/bytes-by-part.js';
import { bitsLabel } from '../quantization/coverage.js';
import type { CurvePoint } from '../quantization/finetuning/finetuning-state.js';
import { loadPlan, loadPrompts } from './load-artifacts.js';
import { packageVersion } from './package-file.js';
import { sampleSheet } from './sample-sheet.js';
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

/** Everything the report shows, from the artifacts of a run. */
export async function reportData(
  store: LocalStore,
  input: ReportInput,
): Promise<{ data: ReportData; samples: Uint8Array | null; evaluations: readonly RoledScores[] }> {
  const { spec, artifacts, summary, facts } = input;
  const evaluations = await loadEvaluations(store, artifacts);
  const shipped = evaluations.at(-1)?.scores;
  const plan = await loadPlan(
    store,
    artifacts['mixed-precision.plan'] ?? artifacts['arrange.plan'] ?? needed(artifacts, 'plan.plan'),
  );
  const sheet = await samplesOf(store, artifacts);
  const errors = new Map((shipped?.layers ?? []).map(({ name, error }) => [name, error]));
  const data: ReportData = {
    pipeline: spec.pipelineName,
    scheme: schemeOf(spec),
    scores: scoreTableData(evaluations),
    compute: spec.compute,
    size: await sizeOf(store, artifacts),
    coverage: { ...coverageData(plan, bitsLabel), ...(summary.branches ? { branches: summary.branches } : {}) },
    notices: plan.notices,
    samples: sheet?.sheet,
    timestepSqnr: timestepSeries(evaluations),
    layers: layerRows(plan, errors),
    layerTimesteps: shipped?.layerTimesteps ?? undefined,
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
  return { data, samples: sheet?.png ?? null, evaluations };
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

async function samplesOf(
  store: LocalStore,
  artifacts: ReportInput['artifacts'],
): Promise<{ png: Uint8Array; sheet: SampleSheet } | null> {
  const { tensors } = readSafetensors(await store.get(needed(artifacts, 'evaluate.images')));
  const [float, images] = [tensors.get('float'), tensors.get('images')];
  if (float?.dims[3] !== 3 || images === undefined) return null;
  const prompts = (await loadPrompts(store, needed(artifacts, 'import.prompts'))).evaluation;
  return sampleSheet(float as Images, images as Images, prompts);
}

async function sizeOf(store: LocalStore, artifacts: ReportInput['artifacts']): Promise<SizeData> {
  const source = await loadPipeline(store, needed(artifacts, 'import.pipeline'));
  const shipped = await loadPipeline(store, needed(artifacts, 'convert.pipeline'));
  const quantizedBytes = shipped.files.read(shipped.denoiser.modelPath).byteLength;
  const parts = bytesByPart(readComponentGraph(shipped.files, shipped.denoiser), quantizedBytes);
  return {
    floatBytes: componentBytes(source.files, source.denoiser),
    quantizedBytes,
    parts: [
      { label: 'weight codes', bytes: parts.codes },
      { label: 'weight scales', bytes: parts.scales },
      { label: 'activation tables', bytes: parts.tables },
      { label: 'float tensors (biases, norms, skipped layers)', bytes: parts.float },
      { label: 'graph', bytes: parts.graph },
    ],
  };
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
