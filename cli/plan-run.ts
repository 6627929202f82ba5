import { ACTIVITY_FACTORIES } from '../activities/activity-factories.js';
import { createActivities } from '../activities/create-activities.js';
import { EnginePool } from '../activities/engine-pool.js';
import { machineFacts } from '../activities/machine-facts.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { RunSpec } from '../contracts/stages.js';
import type { QuantizationPlan } from '../quantization/layer-plan.js';
import { FAILURE_POLICIES } from '../workflows/policies.js';
import { openStore, type StoreSettings } from './open-store.js';

/**
 * Imports and plans in this process, with the same activities as a run and without a server; a later run reuses both.
 * Throws what the stages throw.
 */
export async function planRun(spec: RunSpec, settings: StoreSettings): Promise<QuantizationPlan> {
  const store = await openStore(settings);
  const engines = new EnginePool();
  const abort = new AbortController();
  const host = () => ({ run: 'plan', signal: abort.signal, heartbeat: () => undefined });
  const deps = { store, engines, policies: FAILURE_POLICIES, facts: machineFacts(), host };
  const { importPipeline, planQuantization } = createActivities(deps, ACTIVITY_FACTORIES);
  if (importPipeline === undefined || planQuantization === undefined) {
    throw new NibbleflowError('Internal', 'this build cannot import and plan');
  }
  try {
    const { pipeline, prompts } = await importPipeline({ spec });
    const { plan } = await planQuantization({ pipeline, prompts, recipe: spec.recipe });
    return (await store.getJson(plan)) as QuantizationPlan;
  } catch (error) {
    throw asNibbleflowError(error);
  } finally {
    await engines.close();
  }
}

/** The frame's failures carry the kind as their type. */
function asNibbleflowError(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof NibbleflowError ? cause : error;
}
