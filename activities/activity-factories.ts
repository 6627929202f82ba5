import type { ActivityFactories } from './create-activities.js';

/** The activities that workers register: one row per body. */
export const ACTIVITY_FACTORIES: Partial<ActivityFactories> = {};
