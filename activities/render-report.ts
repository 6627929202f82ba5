import { join } from 'node:path';
import { type Activities, type RenderReportResult, renderReportInputSchema } from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import { PICTURES_FILE, PROTOCOL_FILE, SCORES_FILE } from '../contracts/picture-scores.js';
import type { RunSummary } from '../contracts/run-summary.js';
import { renderModelCard } from '../evaluation/report/model-card.js';
import { renderReport } from '../evaluation/report/render-report.js';
import { frechetOf } from '../evaluation/report/score-columns.js';
import { headlineOf } from '../evaluation/score-headline.js';
import { isIntact, MANIFEST_FILE, type OutputFile, ownManifest, publishFolder } from './output-folder.js';
import { packageVersion } from './package-file.js';
import { type CollectedReport, needed, type ReportInput, reportData, withoutMachinePaths } from './report-data.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadManifest } from './stored-pipeline.js';

const REPORT_FILE = 'report.html';
const SAMPLES_FILE = 'samples.png';

/** An input that is an earlier output has these of another run. */
const OWN_FILES: ReadonlySet<string> = new Set([
  ...[REPORT_FILE, SAMPLES_FILE, MANIFEST_FILE],
  ...[SCORES_FILE, PICTURES_FILE, PROTOCOL_FILE],
]);

/** Writes the output folder: the shipped model files, a model card, the manifest, the scores, the report and sample pictures. */
export function createRenderReport(deps: ActivityDeps): Activities['renderReport'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'report',
        version: 3,
        input: renderReportInputSchema,
        // Run ids and stage times differ between runs of the same thing; what they made does not.
        key: ({ spec, artifacts }) => ({ ...spec, source: '', artifacts }),
        stillValid: (input, result: RenderReportResult) => isPublished(input.spec.out, result),
      },
      rawInput,
      ({ summary, ...input }, context) =>
        publish({ ...input, summary: summary as RunSummary, facts: deps.facts }, context),
    );
}

/** The folder is whole, and it is this result's: its report is the one that was made. */
async function isPublished(out: string, result: RenderReportResult): Promise<boolean> {
  const manifest = await ownManifest(out);
  return manifest?.files[REPORT_FILE]?.digest === result.reportRef.digest && (await isIntact(out));
}

async function publish(
  input: ReportInput,
  context: StageContext,
): Promise<Omit<RenderReportResult, 'reused' | 'seconds'>> {
  const { store } = context;
  const { spec, artifacts } = input;
  const collected = await reportData(store, input);
  const { data } = collected;
  const put = (text: string): Promise<ArtifactRef> => store.put('file', new TextEncoder().encode(text));
  const shipped = await loadManifest(store, needed(artifacts, 'convert.pipeline'));
  const reportRef = await store.put('report', new TextEncoder().encode(renderReport(data)));
  const own: OutputFile[] = [
    { path: 'README.md', ref: await put(renderModelCard(data)) },
    { path: REPORT_FILE, ref: reportRef },
    { path: SCORES_FILE, ref: await put(`${JSON.stringify(data.scoreList ?? [], null, 2)}\n`) },
    { path: PICTURES_FILE, ref: await put(`${JSON.stringify(collected.pictures)}\n`) },
    { path: PROTOCOL_FILE, ref: needed(artifacts, 'evaluate-floor.protocol') },
    { path: SAMPLES_FILE, ref: await store.put('file', collected.samples) },
  ];
  const files = [...shipped.files.filter(({ path }) => !OWN_FILES.has(path)), ...own];
  await context.breathe();
  await publishFolder(store, spec.out, files, manifestOf(input, files, collected), context.key.slice(0, 8));
  const bytes = files.reduce((sum, { ref }) => sum + ref.sizeBytes, 0);
  return {
    out: spec.out,
    report: join(spec.out, REPORT_FILE),
    reportRef,
    summary: `${files.length + 1} files, ${(bytes / 1e6).toFixed(1)} MB, with report and model card`,
  };
}

/** What went in, what was done to it, what came out; the folder's manifest.json. No times, no host names. */
function manifestOf(
  { spec, workflowId, runId, artifacts, facts }: ReportInput,
  files: readonly OutputFile[],
  { data, evaluations, protocol, floatToReference }: CollectedReport,
): unknown {
  const { recipe, compute, pipelineName, sourceDigest, prompts } = spec;
  const short = ({ digest, sizeBytes }: ArtifactRef) => ({ digest, sizeBytes });
  const reference = artifacts['evaluate-floor.reference'];
  return {
    generator: 'nibbleflow',
    schemaVersion: 1,
    input: { pipeline: pipelineName, digest: sourceDigest, prompts: prompts?.digest ?? null },
    recipe: withoutMachinePaths(recipe),
    compute,
    seeds: {
      calibration: recipe.calibration.seed,
      finetuning: recipe.finetuning.seed,
      evaluation: recipe.evaluation.seed,
    },
    versions: { nibbleflow: packageVersion(), node: process.version, ...facts },
    run: { workflowId, runId },
    // Times differ from run to run; nothing that ships depends on them.
    artifacts: Object.fromEntries(
      Object.entries(artifacts)
        .filter(([name]) => !name.startsWith('latency.'))
        .map(([name, ref]) => [name, short(ref)]),
    ),
    protocol,
    ...(reference === undefined ? {} : { reference: { name: 'of the pipeline', digest: reference.digest } }),
    scores: evaluations.map(({ role, label, arithmetic, scores }) => {
      const { psnrDb, ssim, latentSqnrDb, denoiserRelativeMse } = headlineOf(scores);
      const frechet = { ...frechetOf(scores), floatToReference };
      const { samples } = recipe.evaluation;
      return { role, label, samples, arithmetic, psnrDb, ssim, latentSqnrDb, frechet, denoiserRelativeMse };
    }),
    // What later evaluations of the folder say of each layer; errors are theirs.
    layers: (data.layers ?? []).map(({ error: _, ...layer }) => layer),
    files: Object.fromEntries(files.map(({ path, ref }) => [path, short(ref)])),
  };
}
