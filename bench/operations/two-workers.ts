import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { withServer } from '../../cli/command-context.js';
import { loadConfig } from '../../cli/load-config.js';
import { compiledFile } from '../../cli/package-root.js';
import { evaluationIdOf, prepareEvaluation } from '../../cli/prepare-evaluation.js';
import { startWorkflow } from '../../cli/submit-run.js';
import { EVALUATE_WORKFLOW } from '../../contracts/evaluation-activities.js';
import { median } from '../autodiff/timing.js';
import type { OperationsSettings } from './fresh-home.js';
import { computedStages } from './run-log-events.js';

const SAMPLES = 256;
const ROUNDS = 3;

/** Pictures per second of one worker and of two, interleaved, one engine thread each; a shard is 64 pictures. */
export async function workerLines({ pipeline }: OperationsSettings, home: string): Promise<string[]> {
  return withServer(async ({ client, services, loaded }) => {
    const rates: Record<1 | 2, number[]> = { 1: [], 2: [] };
    for (let round = 0; round < 2 * ROUNDS; round += 1) {
      const workers = round % 2 === 0 ? 1 : 2;
      const second = workers === 2 ? await startWorker(services.address, services.namespace) : undefined;
      const settings = [`seed=${1000 + round}`, 'sampling.steps=5'];
      const request = { folder: pipeline, settings, protocol: 'quick', samples: String(SAMPLES), threads: '1' };
      const spec = await prepareEvaluation(
        { ...request, out: `${home}/out` },
        await loadConfig(process.cwd()),
        process.cwd(),
      );
      const { handle, workflowId } = await startWorkflow(client, services, loaded, {
        ...{ type: EVALUATE_WORKFLOW, workflowId: evaluationIdOf(spec), spec, summary: 'bench', details: '' },
      });
      await handle.result();
      if (second !== undefined) await stopWorker(second);
      const shards = computedStages(home).filter(({ run, stage }) => run === workflowId && stage === 'pictures');
      const from = Math.min(...shards.map(({ startedAt }) => startedAt));
      const to = Math.max(...shards.map(({ endedAt }) => endedAt));
      rates[workers].push((1000 * SAMPLES) / (to - from));
    }
    const [one, two] = [median(rates[1]), median(rates[2])];
    return [
      `one worker: ${one.toFixed(2)} pictures/s, two: ${two.toFixed(2)} pictures/s (medians of ${ROUNDS})`,
      `ratio ${(two / one).toFixed(2)}`,
    ];
  });
}

async function startWorker(address: string, namespace: string): Promise<ChildProcess> {
  const worker = fork(compiledFile('cli/server/worker-process.js'), [address, namespace], { stdio: 'ignore' });
  await once(worker, 'message');
  return worker;
}

async function stopWorker(worker: ChildProcess): Promise<void> {
  const ended = once(worker, 'exit');
  worker.kill('SIGTERM');
  await ended;
}
