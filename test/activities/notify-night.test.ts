import { createServer } from 'node:http';
import { MockActivityEnvironment } from '@temporalio/testing';
import { describe, expect, it } from 'vitest';
import { createNotifyNight } from '../../activities/notify-night.js';
import type { ActivityDeps } from '../../activities/stage-frame.js';
import { LOOPBACK } from '../../cli/server/ports.js';
import type { NightActivities } from '../../contracts/night-activities.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';

const AT = '2026-01-02T03:00:00.000Z';

function input(url: string): Parameters<NightActivities['notifyNight']>[0] {
  const record = { schemaVersion: 1, night: 'n', at: AT, startedAt: AT, workflowId: 'w', runId: 'r' } as const;
  const rest = { late: false, verdict: 'regression', pipelines: [], counts: null, missed: 0, skipped: 0, absent: [] };
  return {
    way: 'webhook',
    notify: { webhook: { url, secretEnv: 'NOTIFY_TEST_KEY' } },
    record: { ...record, ...rest, verdict: 'regression' },
    events: ['regression'],
    text: 'worse',
  };
}

describe('telling of a night by a webhook', () => {
  it('happens online, and does not offline: nothing reaches the receiver', async () => {
    process.env.NOTIFY_TEST_KEY = 'key';
    let requests = 0;
    const receiver = createServer((_, response) => {
      requests += 1;
      response.end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, LOOPBACK, resolve));
    const address = receiver.address();
    const url = `http://${LOOPBACK}:${typeof address === 'object' ? address?.port : 0}/`;
    const tell = (offline: boolean) => {
      const deps = { policies: FAILURE_POLICIES, offline } as ActivityDeps;
      return new MockActivityEnvironment().run(createNotifyNight(deps), input(url));
    };
    try {
      await expect(tell(true)).rejects.toThrow('offline');
      expect(requests).toBe(0);
      expect(await tell(false)).toEqual({ told: 'webhook answered 200' });
      expect(requests).toBe(1);
    } finally {
      receiver.close();
      delete process.env.NOTIFY_TEST_KEY;
    }
  });
});
