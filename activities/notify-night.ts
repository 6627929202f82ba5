import { NibbleflowError } from '../contracts/errors.js';
import { type NightActivities, type NotifyNightResult, notifyNightInputSchema } from '../contracts/night-activities.js';
import { postSigned } from './notify/post-signed.js';
import { runWithInput } from './notify/run-with-input.js';
import type { ActivityDeps } from './stage-frame.js';
import { runUncached } from './uncached-activity.js';

/**
 * Tells of a night by a signed webhook or by a command. Addresses and keys that are secret come from this worker's environment and leave it
 * to the receiver alone: neither history nor logs hold them.
 */
export function createNotifyNight(deps: ActivityDeps): NightActivities['notifyNight'] {
  return (rawInput) =>
    runUncached(
      deps.policies,
      notifyNightInputSchema,
      rawInput,
      async ({ way, notify, record, events, text }, { cancellationSignal }): Promise<NotifyNightResult> => {
        // Equal over all attempts, so that receivers can tell a second delivery of the same message.
        const delivery = `${record.runId}/${events.join('+')}`;
        const body = { ...record, delivery, sentAt: new Date().toISOString(), events, text };
        if (way === 'command') {
          const { command } = notify;
          if (command === null) throw nothing(way);
          return { told: await runWithInput(command, `${JSON.stringify(body)}\n`, cancellationSignal) };
        }
        const { webhook } = notify;
        if (webhook === null) throw nothing(way);
        if (deps.offline) throw offline();
        const url = webhook.url ?? fromEnvironment(webhook.urlEnv ?? '');
        const key = fromEnvironment(webhook.secretEnv);
        return { told: await postSigned(url, key, { delivery, body: JSON.stringify(body) }, cancellationSignal) };
      },
    );
}

function fromEnvironment(variable: string): string {
  const value = process.env[variable];
  if (value !== undefined && value !== '') return value;
  throw new NibbleflowError('InvalidInput', `the environment of the worker has no variable ${variable}`, {
    where: 'notify.webhook',
    fix: 'Set it where the worker is started (`nibbleflow up`, or the service), and start the worker again.',
  });
}

function offline(): NibbleflowError {
  return new NibbleflowError('InvalidInput', 'the webhook is not called: this worker is offline', {
    where: 'notify.webhook',
    fix: 'Notify by a command, or start the worker without --offline, NIBBLEFLOW_OFFLINE and `offline`.',
  });
}

function nothing(way: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `notify has no ${way}`, { where: 'notify' });
}
