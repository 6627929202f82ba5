import { join } from 'node:path';
import type { z } from 'zod';
import type { ArtifactRef } from '../contracts/artifact.js';
import {
  type EvaluationActivities,
  type EvaluationSpec,
  type RenderEvaluationResult,
  renderEvaluationInputSchema,
} from '../contracts/evaluation-activities.js';
import { PICTURES_FILE, type PictureScores, PROTOCOL_FILE, SCORES_FILE } from '../contracts/picture-scores.js';
import type { Score } from '../contracts/score.js';
import { renderReport } from '../evaluation/report/render-report.js';
import type { SizeData } from '../evaluation/report/report-data.js';
import { evaluationReport } from './evaluation-report.js';
import { isIntact, type OutputFile, publishFolder } from './output-folder.js';
import { packageVersion } from './package-file.js';
import { promptsDigest } from './prompts-digest.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';

type Input = z.output<typeof renderEvaluationInputSchema>;

const REPORT_FILE = 'report.html';
const SAMPLES_FILE = 'samples.png';

/** Writes the evaluation's folder: scores, protocol, report, sample pictures and manifest. */
export function createRenderEvaluation(deps: ActivityDeps): EvaluationActivities['renderEvaluation'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'report',
        version: 3,
        input: renderEvaluationInputSchema,
        // Run ids and stage times differ between runs of the same thing; what they made does not.
        key: ({ workflowId: _, runId: _run, stages: _stages, ...input }) => ({ evaluation: input }),
        stillValid: ({ spec }) => isIntact(spec.out),
      },
      rawInput,
      (input, context) => publish(input, context, deps.facts),
    );
}

async function publish(
  input: Input,
  context: StageContext,
  facts: Readonly<Record<string, string>>,
): Promise<Omit<RenderEvaluationResult, 'reused' | 'seconds'>> {
  const { store } = context;
  const { spec } = input;
  const { data, samples, details, scores, prompts } = await evaluationReport(store, input, facts);
  const put = (value: unknown): Promise<ArtifactRef> =>
    store.put('file', new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`));
  const files: OutputFile[] = [
    { path: SCORES_FILE, ref: await put(scores) },
    { path: PROTOCOL_FILE, ref: await put({ ...spec.protocol, digest: spec.protocolDigest }) },
    { path: REPORT_FILE, ref: await store.put('report', new TextEncoder().encode(renderReport(data))) },
    ...(samples === null ? [] : [{ path: SAMPLES_FILE, ref: await store.put('file', samples) }]),
    ...(spec.against === null
      ? []
      : [{ path: PICTURES_FILE, ref: await put(pictureScores(spec, spec.against.digest, prompts, details.pictures)) }]),
  ];
  await publishFolder(
    store,
    spec.out,
    files,
    manifestOf(input, files, scores, { facts, size: data.size ?? null, prompts }),
    context.key.slice(0, 8),
  );
  return {
    out: spec.out,
    report: join(spec.out, REPORT_FILE),
    list: scores,
    summary: `${files.length + 1} files: scores, protocol, report`,
  };
}

function pictureScores(
  { protocol }: EvaluationSpec,
  float: string,
  prompts: readonly string[],
  values: Readonly<Record<string, readonly number[]>>,
): PictureScores {
  const { seed, sampling } = protocol;
  const lists = Object.entries(values).map(([metric, list]): [string, number[]] => [metric, [...list]]);
  return {
    schemaVersion: 1,
    prompts: [...prompts],
    seed,
    steps: sampling.steps,
    guidance: sampling.guidance ?? 1,
    float,
    values: Object.fromEntries(lists),
  };
}

interface Described {
  readonly facts: Readonly<Record<string, string>>;
  readonly size: SizeData | null;
  readonly prompts: readonly string[];
}

function manifestOf(
  { spec }: Input,
  files: readonly OutputFile[],
  scores: readonly Score[],
  { facts, size, prompts }: Described,
): unknown {
  const { candidate, against, reference, protocol, protocolDigest, extractor, compute } = spec;
  const named = ({ name, digest }: { name: string; digest: string }) => ({ name, digest });
  return {
    schemaVersion: 1,
    generator: 'nibbleflow',
    kind: 'evaluation',
    version: packageVersion(),
    candidate: named(candidate),
    against: against && named(against),
    reference: reference && { kind: reference.kind, ...named(reference) },
    extractor: { name: extractor.name, sha256: extractor.sha256 },
    protocol: { ...protocol, digest: protocolDigest },
    prompts: { count: prompts.length, digest: promptsDigest(prompts) },
    device: compute.device,
    threads: compute.threads,
    environment: { node: process.version, ...facts },
    size: size && { floatBytes: size.floatBytes, quantizedBytes: size.quantizedBytes },
    scores: scores.map(({ name, against: side, value }) => ({ name, against: side, value })),
    files: Object.fromEntries(files.map(({ path, ref }) => [path, { digest: ref.digest, sizeBytes: ref.sizeBytes }])),
  };
}
