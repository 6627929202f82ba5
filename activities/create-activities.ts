import type { Activities } from '../contracts/activities.js';
import type { ActivityDeps } from './stage-frame.js';

/** How each activity is made: one row per file of this folder that exports a `create…` function. */
export type ActivityFactories = { readonly [Name in keyof Activities]: (deps: ActivityDeps) => Activities[Name] };

/** The activities of a worker, each with the same store, engines and policies. */
export function createActivities<Names extends keyof Activities>(
  deps: ActivityDeps,
  factories: Pick<ActivityFactories, Names>,
): Pick<Activities, Names> {
  const names = Object.keys(factories) as Names[];
  return Object.fromEntries(names.map((name) => [name, factories[name](deps)])) as Pick<Activities, Names>;
}
