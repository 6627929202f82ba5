import { join } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import {
  type NightActivities,
  type PrepareNightResult,
  prepareNightInputSchema,
} from '../contracts/night-activities.js';
import { refuseForeign } from './output-folder.js';
import type { ActivityDeps } from './stage-frame.js';
import { nightStamp } from './store/night-records.js';
import { runUncached } from './uncached-activity.js';

/** Looks at a tracked pipeline's folders as they are tonight, and says what its evaluation is to be started with. */
export function createPrepareNight(deps: ActivityDeps): NightActivities['prepareNight'] {
  return (rawInput) =>
    runUncached(
      deps.policies,
      prepareNightInputSchema,
      rawInput,
      async ({ night, pipeline, run }): Promise<PrepareNightResult> => {
        if (deps.resolveEvaluation === undefined) {
          throw new NibbleflowError('Internal', 'this worker was started without what resolves evaluations');
        }
        const out = join(night.out, nightStamp(run.at), pipeline.name);
        await refuseForeign(out, 'evaluation');
        const { folder, against, reference } = pipeline;
        const { protocol, compute } = night;
        return { spec: await deps.resolveEvaluation({ folder, against, reference, protocol, compute, out }) };
      },
    );
}
