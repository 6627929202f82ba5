import { z } from 'zod';
import type { renderEvaluationInputSchema } from '../contracts/evaluation-activities.js';
import { layerRoleSchema } from '../contracts/recipe.js';
import type { StageRow } from '../contracts/run-summary.js';
import type { Score } from '../contracts/score.js';
import type { DenoiserComparison } from '../evaluation/denoiser-comparison.js';
import type { EvaluationDetails } from '../evaluation/evaluation-details.js';
import type { Fact, LatencyData, LayerRow, ReportData, SizeData } from '../evaluation/report/report-data.js';
import { differenceSeries } from '../evaluation/report/score-columns.js';
import { sizeParts } from '../evaluation/report/size-parts.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import { componentBytes } from '../models/pipelines/open-component.js';
import { bytesByPart } from '../quantization/conversion/bytes-by-part.js';
import { MANIFEST_FILE } from './output-folder.js';
import { packageVersion } from './package-file.js';
import { sampleSheets } from './sample-sheet.js';
import type { LocalStore } from './store/local-store.js';
import { loadPipeline } from './stored-pipeline.js';

type Input = z.output<typeof renderEvaluationInputSchema>;

/** A row as the manifest of an output folder has it. */
const layerRowSchema = z.looseObject({
  name: z.string(),
  role: layerRoleSchema,
  op: z.string(),
  weightBits: z.number().nullable(),
  activationBits: z.number().nullable(),
  scheme: z.string(),
  parameters: z.number(),
  macs: z.number(),
  floatBytes: z.number().optional(),
  bytes: z.number().optional(),
  skipped: z.string().nullable(),
  reason: z.string().optional(),
});

export interface EvaluationReport {
  readonly data: ReportData;
  /** PNG of the sample grid; null without a float pipeline. */
  readonly samples: Uint8Array | null;
  readonly details: EvaluationDetails;
  readonly scores: readonly Score[];
  readonly prompts: readonly string[];
}

/** Everything the report of an evaluation shows, from its artifacts. */
export async function evaluationReport(
  store: LocalStore,
  input: Input,
  facts: Readonly<Record<string, string>>,
): Promise<EvaluationReport> {
  const { spec } = input;
  const scores = (await store.getJson(input.scores)) as Score[];
  const details = (await store.getJson(input.details)) as EvaluationDetails;
  const prompts = (await store.getJson(spec.prompts)) as string[];
  const comparison =
    input.comparison === null ? undefined : ((await store.getJson(input.comparison)) as DenoiserComparison);
  const latency = input.latency === null ? undefined : ((await store.getJson(input.latency)) as LatencyData);
  const sheets = await sheetsOf(store, input, prompts, details);
  const data: ReportData = {
    kind: 'evaluation',
    pipeline: spec.candidate.name,
    scheme: 'candidate',
    scores: { columns: [] },
    scoreList: scores,
    subjects: subjectsOf(input),
    protocol: { settings: spec.protocol, digest: spec.protocolDigest },
    compute: spec.compute,
    size: await sizeOf(store, input),
    notices: [...input.notes, ...details.notes],
    samples: sheets?.samples.sheet,
    extremes: sheets?.extremes,
    ...seriesOf(details, spec.candidate.name),
    latency,
    layers: await layersOf(store, input, comparison),
    drift: comparison?.drift ?? undefined,
    layerTimesteps: comparison?.layerTimesteps,
    stages: (input.stages as readonly StageRow[])
      .filter(({ state }) => state === 'done' || state === 'reused')
      .map(({ title, seconds, state, summary }) => ({ name: title, seconds, reused: state === 'reused', summary })),
    environment: Object.entries({ nibbleflow: packageVersion(), node: process.version, ...facts }).map(
      ([label, value]) => ({ label, value }),
    ),
    run: { workflowId: input.workflowId, runId: input.runId },
  };
  return { data, samples: sheets?.samples.png ?? null, details, scores, prompts };
}

const manifestSchema = z.looseObject({ layers: z.array(layerRowSchema) });

/** Bits and bytes of every layer, where the folder's own manifest tells, with the errors measured now. */
async function layersOf(
  store: LocalStore,
  { candidatePipeline }: Input,
  comparison: DenoiserComparison | undefined,
): Promise<LayerRow[] | undefined> {
  const { files } = await loadPipeline(store, candidatePipeline);
  if (!files.paths().includes(MANIFEST_FILE)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(files.read(MANIFEST_FILE)));
  } catch {
    return undefined;
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const errors = new Map((comparison?.layers ?? []).map(({ name, error }) => [name, error]));
  return parsed.data.layers.map((layer) => ({ ...layer, error: errors.get(layer.name) ?? null }));
}

function subjectsOf({ spec }: Input): Fact[] {
  const named = (label: string, { name, digest }: { name: string; digest: string }): Fact => ({
    label,
    value: `${name} (${digest.slice(0, 12)})`,
  });
  return [
    named('Evaluated', spec.candidate),
    ...(spec.against === null ? [] : [named('Float', spec.against)]),
    ...(spec.reference === null ? [] : [named('Reference', spec.reference)]),
    { label: 'Extractor', value: `${spec.extractor.name}@${spec.extractor.sha256.slice(0, 8)}` },
  ];
}

function seriesOf({ candidate, floor }: EvaluationDetails, name: string) {
  return differenceSeries([
    { role: 'floor', label: 'noise floor (float, other seeds)', points: floor },
    { role: 'after', label: name, points: candidate },
  ]);
}

async function sheetsOf(
  store: LocalStore,
  { floatImages: float, candidateImages: candidate }: Input,
  prompts: readonly string[],
  { pictures }: EvaluationDetails,
) {
  return float === null ? null : sampleSheets(store, { float, candidate }, prompts, pictures.psnr ?? []);
}

async function sizeOf(store: LocalStore, { candidatePipeline, floatPipeline }: Input): Promise<SizeData | undefined> {
  if (floatPipeline === null) return undefined;
  const float = await loadPipeline(store, floatPipeline);
  const candidate = await loadPipeline(store, candidatePipeline);
  const quantizedBytes = componentBytes(candidate.files, candidate.denoiser);
  const parts = bytesByPart(readComponentGraph(candidate.files, candidate.denoiser), quantizedBytes);
  return {
    floatBytes: componentBytes(float.files, float.denoiser),
    quantizedBytes,
    parts: sizeParts(parts),
  };
}
