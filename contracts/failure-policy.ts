import type { FailureKind } from './errors.js';

/** What happens when a stage fails with a kind of failure. The table is in workflows/policies.ts. */
export interface FailurePolicy {
  /** How often a stage may fail like this before the run fails; 1 is no retry. Other failures do not count. */
  readonly attempts: number;
  /** What a retry does differently; null when trying again is all. */
  readonly remedy: 'halve-micro-batch' | 'collect-garbage' | 'fresh-engine' | null;
}

export type FailurePolicies = Readonly<Record<FailureKind, FailurePolicy>>;
