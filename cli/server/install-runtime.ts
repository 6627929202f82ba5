import { createServer } from 'node:net';
import { DefaultLogger, Runtime, type RuntimeOptions } from '@temporalio/worker';
import { pino } from 'pino';
import { StageMetrics } from '../../activities/stage-metrics.js';
import type { Config } from '../../contracts/config.js';
import { NibbleflowError } from '../../contracts/errors.js';

/** Upper bounds of histograms, in seconds: from moments to nights. */
const SECONDS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600];

/**
 * Installs the Temporal SDK's runtime: its log goes through pino, and with a port its metrics and those of the stages are
 * served at /metrics. Throws InvalidInput when the address cannot be listened on.
 * @returns what counts stages; null without a port
 */
export async function installRuntime({ metrics }: Pick<Config, 'metrics'>): Promise<StageMetrics | null> {
  const log = pino({ name: 'worker' });
  const logger = new DefaultLogger('INFO', ({ level, message, meta }) =>
    log[level === 'ERROR' ? 'error' : level === 'WARN' ? 'warn' : 'info']({ ...meta, taskToken: undefined }, message),
  );
  if (metrics.port === null) {
    Runtime.install({ logger });
    return null;
  }
  await refuseTakenAddress(metrics.bind, metrics.port);
  const runtime = Runtime.install({ logger, telemetryOptions: { metrics: prometheus(metrics.bind, metrics.port) } });
  return new StageMetrics(runtime.metricMeter);
}

function prometheus(bind: string, port: number): NonNullable<RuntimeOptions['telemetryOptions']>['metrics'] {
  const host = bind.includes(':') ? `[${bind}]` : bind;
  return {
    prometheus: {
      bindAddress: `${host}:${port}`,
      countersTotalSuffix: true,
      useSecondsForDurations: true,
      histogramBucketOverrides: { nibbleflow_stage_seconds: SECONDS, nibbleflow_lease_wait_seconds: SECONDS },
    },
  };
}

/** The runtime would abort the process without a word about which setting it was. */
function refuseTakenAddress(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) =>
      reject(
        new NibbleflowError('InvalidInput', `metrics cannot be served: ${error.message}`, {
          where: `metrics.bind ${host}, metrics.port ${port}`,
          fix: 'Choose another port: every worker of a machine needs its own.',
          cause: error,
        }),
      ),
    );
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()));
  });
}
