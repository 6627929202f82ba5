import { packageVersion } from '../../activities/package-file.js';
import { RunLogs, runLogFolder } from '../../activities/run-log.js';
import { StageSpans } from '../../activities/stage-spans.js';
import type { LoadedConfig } from '../load-config.js';
import { installRuntime } from './install-runtime.js';

/** What a worker tells about its runs. */
export interface RunObservers {
  readonly logs: RunLogs;
  /** Sends what is left. */
  readonly close: () => Promise<void>;
}

/**
 * Installs the SDK's runtime and opens the logs of runs; metrics and traces are made of what is logged, where the configuration
 * asks for them. An offline worker sends no traces. Throws InvalidInput.
 */
export async function observeRuns({ config, stateDir }: LoadedConfig): Promise<RunObservers> {
  const metrics = await installRuntime(config);
  const { otlpUrl } = config.telemetry;
  const spans = otlpUrl === null || config.offline ? null : new StageSpans(otlpUrl, packageVersion());
  const observers = [metrics, spans].filter((one) => one !== null).map(({ observe }) => observe);
  const logs = new RunLogs(runLogFolder(stateDir), { observers });
  logs.removeOld(Date.now());
  return { logs, close: async () => spans?.close() };
}
