import type { EvaluationActivities } from '../contracts/evaluation-activities.js';
import { activitiesOn } from './proxied-activities.js';
import type { TaskQueues } from './quantize-pipeline.js';
import type { RunControl } from './run-control.js';

/** Every activity of evaluations with its queue and with what the UI shows beside it. */
export function evaluationCalls(queues: TaskQueues, control: RunControl): EvaluationActivities {
  const cpu = activitiesOn(queues.cpu);
  const gpu = activitiesOn(queues.gpu);
  const host = activitiesOn(queues.host ?? queues.cpu);
  return {
    planEvaluation: control.summarized(cpu.planEvaluation, () => 'plan the evaluations'),
    importFolder: control.summarized(host.importFolder, ({ folder }) => `import ${folder.name}`),
    importReference: control.summarized(
      host.importReference,
      ({ reference }) => `read the reference ${reference.name}`,
    ),
    sampleShard: control.summarized(gpu.sampleShard, ({ first, end }) => `sample pictures ${first} to ${end - 1}`),
    extractShard: control.summarized(gpu.extractShard, ({ extractor }) => `features by ${extractor.name}`),
    listShards: control.summarized(cpu.listShards, ({ shards }) => `list ${shards.length} shards`),
    compareDenoisers: control.summarized(gpu.compareDenoisers, ({ inside }) =>
      inside === null ? 'compare denoisers' : 'compare denoiser and layers',
    ),
    measureLatency: control.summarized(gpu.measureLatency, () => 'time the denoisers'),
    scoreEvaluation: control.summarized(gpu.scoreEvaluation, () => 'score'),
    renderEvaluation: control.summarized(host.renderEvaluation, ({ spec }) => `write ${spec.out}`.slice(0, 200)),
  };
}
