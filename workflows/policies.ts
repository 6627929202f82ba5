import type { RetryPolicy } from '@temporalio/workflow';
import type { FailureKind } from '../contracts/errors.js';
import type { FailurePolicies } from '../contracts/failure-policy.js';

/**
 * Failure kind → what a stage does about it. Workers hand this table to the stage frame, which counts failures by kind:
 * a killed worker or a lost server never uses up the attempts of another kind.
 */
export const FAILURE_POLICIES: FailurePolicies = {
  InvalidRecipe: { attempts: 1, remedy: null },
  InvalidModel: { attempts: 1, remedy: null },
  InvalidInput: { attempts: 1, remedy: null },
  MissingArtifact: { attempts: 1, remedy: null },
  OutOfMemory: { attempts: 6, remedy: 'halve-micro-batch' },
  EngineCrashed: { attempts: 5, remedy: 'fresh-engine' },
  Stalled: { attempts: 2, remedy: 'fresh-engine' },
  // The end of a worker that was told to end costs nothing: never counted.
  Preempted: { attempts: Number.POSITIVE_INFINITY, remedy: null },
  LeaseLost: { attempts: 5, remedy: 'fresh-engine' },
  WorkerLost: { attempts: 20, remedy: null },
  DiskFull: { attempts: 2, remedy: 'collect-garbage' },
  NonFiniteLoss: { attempts: 1, remedy: null },
  OutputNotWritable: { attempts: 1, remedy: null },
  DeviceUnavailable: { attempts: 1, remedy: null },
  ServerUnavailable: { attempts: 5, remedy: null },
  // Not counted, for want of a place to keep the count: the server's attempts bound it, to two or three hours.
  StoreUnavailable: { attempts: 500, remedy: null },
  StoreRefused: { attempts: 1, remedy: null },
  // Thrown by a night on purpose.
  QUALITY_REGRESSION: { attempts: 1, remedy: null },
  Internal: { attempts: 2, remedy: null },
};

/** Kinds that the server must never retry, whoever throws them. */
export const NON_RETRYABLE_KINDS: readonly FailureKind[] = (Object.keys(FAILURE_POLICIES) as FailureKind[]).filter(
  (kind) => FAILURE_POLICIES[kind].attempts === 1,
);

/**
 * A worker that was killed is noticed after this. The keep-alive comes every 5 s, so two may be lost before a healthy
 * activity is given up.
 */
export const HEARTBEAT_TIMEOUT = '16 seconds';

/** No stage takes longer; stages that hang are found by their progress timeout. */
export const START_TO_CLOSE_TIMEOUT = '7 days';

/**
 * Server-side retries. Counted attempts per failure kind are in FAILURE_POLICIES, those of killed workers too: this has to
 * leave room for workers that are stopped every hour for weeks.
 */
export const ACTIVITY_RETRY: RetryPolicy = {
  initialInterval: '1 second',
  backoffCoefficient: 2,
  maximumInterval: '20 seconds',
  maximumAttempts: 500,
  nonRetryableErrorTypes: [...NON_RETRYABLE_KINDS],
};
