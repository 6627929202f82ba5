import { resolve } from 'node:path';
import { ownManifest } from '../activities/output-folder.js';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { EvaluationSummary } from '../contracts/evaluation-activities.js';
import { type RunSummary, SUMMARY_QUERY } from '../contracts/run-summary.js';
import type { ComparedSide } from '../evaluation/compare/comparison.js';
import { findRun, type ServerContext } from './command-context.js';
import { openStore, type StoreSettings } from './open-store.js';
import { readComparedFolder, scoresSchema } from './read-compared-folder.js';

export interface ComparedRun {
  readonly side: ComparedSide;
  /** Where the run wrote its folder; it may hold another run's by now. */
  readonly out: string;
}

/**
 * A run that the server remembers as one side of a comparison: its output folder where that is still this run's, else what
 * its artifacts in the store say. @throws NibbleflowError InvalidInput when there is no such run, or it has no scores yet
 */
export async function readComparedRun({ client, loaded }: ServerContext, id: string): Promise<ComparedRun> {
  const handle = await findRun(client, id);
  const summary = await handle.query<RunSummary | EvaluationSummary>(SUMMARY_QUERY);
  const { workflowId, out, stages } = summary;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const published = await publishedSide(summary);
  if (published !== null) return { side: { ...published, label: workflowId, seconds }, out: resolve(out) };
  const scores = 'kind' in summary ? summary.scores : await scoresFromStore(loaded, summary);
  if (scores.length === 0) {
    throw new NibbleflowError('InvalidInput', 'the run has no scores yet', {
      where: workflowId,
      fix: '`nibbleflow attach` follows it to its end.',
    });
  }
  const settings = 'kind' in summary ? { protocol: summary.protocol } : { recipe: summary.recipe };
  const bytes = 'kind' in summary ? null : summary.denoiserBytes;
  const kind = 'kind' in summary ? 'evaluation' : 'quantization';
  const side = { label: workflowId, kind, scores, pictures: null, facts: {}, settings, bytes, seconds } as const;
  return { side, out: resolve(out) };
}

/** The folder that the run wrote, unless another run has written there since; null when it is not there. */
async function publishedSide(summary: RunSummary | EvaluationSummary): Promise<ComparedSide | null> {
  if (summary.report === null) return null;
  const manifest = (await ownManifest(summary.out)) as { run?: { runId?: string } } | undefined;
  if (manifest === undefined) return null;
  if (!('kind' in summary)) {
    return manifest.run?.runId === summary.runId ? await readComparedFolder(summary.out) : null;
  }
  const side = await readComparedFolder(summary.out);
  return canonicalJson(side.scores) === canonicalJson(summary.scores) ? side : null;
}

async function scoresFromStore(settings: StoreSettings, { artifacts }: RunSummary) {
  const ref = artifacts['evaluate.scores'];
  if (ref === undefined) return [];
  const found = scoresSchema.safeParse(await (await openStore(settings)).getJson(ref));
  return found.success ? found.data : [];
}
