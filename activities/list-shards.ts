import {
  type EvaluationActivities,
  type ListShardsResult,
  listShardsInputSchema,
} from '../contracts/evaluation-activities.js';
import { type ActivityDeps, runStage } from './stage-frame.js';

/** Keeps which artifacts a set's shards are: an activity that reads a set of 50,000 pictures is told one reference. */
export function createListShards(deps: ActivityDeps): EvaluationActivities['listShards'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'pictures', version: 1, input: listShardsInputSchema, key: ({ shards }) => ({ list: shards }) },
      rawInput,
      async ({ shards }, { store }): Promise<Omit<ListShardsResult, 'reused' | 'seconds'>> => ({
        list: await store.putJson('shards', shards),
        summary: `${shards.length} shards`,
      }),
    );
}
