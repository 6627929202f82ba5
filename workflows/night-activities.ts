import { proxyActivities } from '@temporalio/workflow';
import type { NightActivities } from '../contracts/night-activities.js';
import { ACTIVITY_RETRY, HEARTBEAT_TIMEOUT, NON_RETRYABLE_KINDS, START_TO_CLOSE_TIMEOUT } from './policies.js';
import { summarized } from './proxied-activities.js';

/** A receiver is asked this often at most: at once, then after 2, 8, 32 and 128 seconds. */
const TELL_ATTEMPTS = 5;

/** What a night does beside the evaluations, on the machine that has the folders and the environment. */
export function nightActivitiesOn(taskQueue: string): NightActivities {
  const looking = proxyActivities<NightActivities>({
    taskQueue,
    startToCloseTimeout: START_TO_CLOSE_TIMEOUT,
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    retry: ACTIVITY_RETRY,
  });
  const telling = proxyActivities<NightActivities>({
    taskQueue,
    startToCloseTimeout: '2 minutes',
    retry: {
      initialInterval: '2 seconds',
      backoffCoefficient: 4,
      maximumAttempts: TELL_ATTEMPTS,
      nonRetryableErrorTypes: [...NON_RETRYABLE_KINDS],
    },
  });
  return {
    prepareNight: summarized(looking.prepareNight, ({ pipeline }) => `look at ${pipeline.name}`),
    judgeNight: summarized(looking.judgeNight, () => 'compare with the nights before'),
    notifyNight: summarized(telling.notifyNight, ({ way, events }) => `${way}: ${events.join(', ')}`),
  };
}
