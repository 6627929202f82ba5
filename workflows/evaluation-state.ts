import { type EvaluationSpec, SHARD_SIZES } from '../contracts/evaluation-activities.js';
import type { Protocol } from '../contracts/protocol.js';
import type { StageRow } from '../contracts/run-summary.js';
import type { Stage } from '../contracts/stages.js';

/** Rows of an evaluation. */
export type EvaluationStageId =
  | 'import'
  | 'import-float'
  | 'import-reference'
  | `${'pictures' | 'features'}-${'float' | 'floor' | 'candidate'}`
  | 'compare'
  | 'latency'
  | 'score'
  | 'report';

/** Up to this many pictures, shards are as small as they may be, so that more workers can help. */
const FEW = 2048;

/** Pictures first … end − 1 of each shard; small ones as long as whole trajectories are kept beside the pictures. */
export function shardsOf({ samples, trajectories }: Pick<Protocol, 'samples' | 'trajectories'>): Shard[] {
  const shards: Shard[] = [];
  for (let first = 0; first < samples; first = shards.at(-1)?.end ?? samples) {
    const size = samples <= FEW || first < trajectories ? SHARD_SIZES.least : SHARD_SIZES.most;
    shards.push({ first, end: Math.min(samples, first + size) });
  }
  return shards;
}

interface Shard {
  readonly first: number;
  readonly end: number;
}

/** All rows pending, in the order of execution. */
export function evaluationRows(spec: EvaluationSpec): StageRow[] {
  const { candidate, against, reference, protocol, out } = spec;
  const own = against?.name ?? candidate.name;
  const n = `${protocol.samples} pictures`;
  const hasFloor = against !== null || reference !== null;
  const rows: (readonly [EvaluationStageId, Stage, string] | false)[] = [
    ['import', 'import', `import ${candidate.name}`],
    against !== null && ['import-float', 'import', `import the float pipeline ${against.name}`],
    reference !== null && ['import-reference', 'import-reference', `read the reference ${reference.name}`],
    ['pictures-float', 'pictures', `sample ${n} of ${own}`],
    ['features-float', 'features', `features of the pictures of ${own}`],
    hasFloor && ['pictures-floor', 'pictures', `sample ${n} of ${own} with other seeds: the noise floor`],
    hasFloor && ['features-floor', 'features', 'features of the noise floor'],
    against !== null && ['pictures-candidate', 'pictures', `sample ${n} of ${candidate.name}`],
    against !== null && ['features-candidate', 'features', `features of the pictures of ${candidate.name}`],
    against !== null && protocol.trajectories > 0 && ['compare', 'compare', 'compare denoiser and layers'],
    ['latency', 'latency', 'time the denoisers'],
    ['score', 'score', 'score'],
    ['report', 'report', `write ${out}`],
  ];
  return rows
    .filter((row) => row !== false)
    .map(([id, stage, title]) => ({ id, stage, title, state: 'pending', summary: '', seconds: 0 }));
}
