import type { Activities } from '../contracts/activities.js';
import type { NightActivities } from '../contracts/night-activities.js';
import type { ActivityDeps } from './stage-frame.js';

/** Stages, and what a night does beside them. */
export type WorkerActivities = Activities & NightActivities;

/** How each activity is made: one file of this folder each, which exports a `create…` function. */
export type ActivityFactories = {
  readonly [Name in keyof WorkerActivities]: (deps: ActivityDeps) => WorkerActivities[Name];
};

/** The activities of a worker, each with the same store, engines and policies. */
export function createActivities(deps: ActivityDeps, factories: ActivityFactories): WorkerActivities {
  const made = Object.entries(factories).map(([name, create]) => [name, create(deps)]);
  return Object.fromEntries(made) as unknown as WorkerActivities;
}
