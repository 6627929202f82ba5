import type { Activities } from '../contracts/activities.js';
import type { ActivityDeps } from './stage-frame.js';

/** How each activity is made: one file of this folder each, which exports a `create…` function. */
export type ActivityFactories = { readonly [Name in keyof Activities]: (deps: ActivityDeps) => Activities[Name] };

/** The activities of a worker, each with the same store, engines and policies. */
export function createActivities(deps: ActivityDeps, factories: ActivityFactories): Activities {
  const made = Object.entries(factories).map(([name, create]) => [name, create(deps)]);
  return Object.fromEntries(made) as unknown as Activities;
}
