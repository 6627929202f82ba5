import { basename, join } from 'node:path';
import type { z } from 'zod';
import {
  type RenderSweepResult,
  renderSweepInputSchema,
  type SweepActivities,
  type SweepCell,
} from '../contracts/sweep.js';
import { renderSweep, type SweepRow } from '../evaluation/report/render-sweep.js';
import { paretoFront } from '../evaluation/statistics/pareto-front.js';
import { type ActivityDeps, runStage } from './stage-frame.js';
import { digestOfFile, type LocalStore } from './store/local-store.js';

type Input = z.output<typeof renderSweepInputSchema>;

const PAGE = 'sweep.html';
const DATA = 'sweep.json';

/** Writes the page and the data of a sweep beside the folders of its runs. */
export function createRenderSweep(deps: ActivityDeps): SweepActivities['renderSweep'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'report',
        version: 2,
        input: renderSweepInputSchema,
        key: ({ runId: _, ...input }) => ({ sweep: input }),
        stillValid: async ({ out }, { reportRef }: RenderSweepResult) =>
          (await digestOfFile(join(out, PAGE)).catch(() => undefined)) === reportRef.digest,
      },
      rawInput,
      (input, { store }) => publish(input, store),
    );
}

async function publish(input: Input, store: LocalStore): Promise<Omit<RenderSweepResult, 'reused' | 'seconds'>> {
  const { out, pipelineName: pipeline, samples, parallel, workflowId, cells } = input;
  const front = new Set(paretoFront(cells.map(costsOf)).map((index) => cells[index]?.name ?? ''));
  const rows = cells.map((cell) => rowOf(cell, front.has(cell.name)));
  const page = renderSweep({ pipeline, samples, parallel, workflowId, rows });
  const reportRef = await store.put('report', new TextEncoder().encode(page));
  const data = { schemaVersion: 1, kind: 'sweep', pipeline, samples, parallel, workflowId, runs: rows };
  const dataRef = await store.put('file', new TextEncoder().encode(`${JSON.stringify(data, null, 2)}\n`));
  await store.copyTo(dataRef, join(out, DATA));
  await store.copyTo(reportRef, join(out, PAGE));
  return {
    report: join(out, PAGE),
    reportRef,
    front: [...front],
    summary: `${front.size} of ${cells.length} runs on the Pareto front`,
  };
}

/** Times vary from run to run: those in the same step of 10 % count as equal. */
const TIME_STEP = 1.1;

/** Quality, size and minutes, all as costs. */
function costsOf({ headline, denoiserBytes, workSeconds }: SweepCell): number[] {
  const time = Math.round(Math.log(workSeconds ?? Number.NaN) / Math.log(TIME_STEP));
  return [-(headline?.psnrDb ?? Number.NaN), denoiserBytes ?? Number.NaN, time];
}

function rowOf(cell: SweepCell, onFront: boolean): SweepRow {
  const { name, headline, denoiserBytes, floatDenoiserBytes, workSeconds, message, out } = cell;
  return {
    name,
    psnrDb: headline?.psnrDb ?? null,
    relativeMse: headline?.denoiserRelativeMse ?? null,
    frechet: headline?.frechetToFloat ?? null,
    denoiserBytes,
    floatDenoiserBytes,
    workSeconds,
    onFront,
    message,
    folder: basename(out),
  };
}
