import { join } from 'node:path';
import { NibbleflowError, nearestName } from '../contracts/errors.js';
import { type Protocol, protocolSchema } from '../contracts/protocol.js';
import { SET_METRICS } from '../evaluation/metrics/set-metrics.js';
import { explainIssues, issuePlace } from './explain-issues.js';
import { builtInNames, layeredSettings, type SettingsKind } from './layered-settings.js';
import { packageRoot } from './package-root.js';

const PROTOCOLS: SettingsKind = {
  what: 'protocol',
  failure: 'InvalidInput',
  builtIns: join(packageRoot(), 'evaluation', 'protocols'),
  schema: protocolSchema,
  paths: [{ at: ['prompts'] }, { at: ['extractor'], orName: true }],
  example: 'settings.kidSubsets=50',
};

/** Metrics of pairs: computed wherever there is a float pipeline, lpips only when it is asked for. */
const SAME_SEED = ['psnr', 'ssim', 'lpips'];

/** Names of the built-in protocols, sorted. */
export function builtInProtocols(): Promise<string[]> {
  return builtInNames(PROTOCOLS);
}

/**
 * Loads a protocol by built-in name or by path (.yaml, .yml, .json), follows `extends`, applies `path=value` settings and
 * fills in every default. Throws InvalidInput that names the nearest known setting or metric.
 */
export async function loadProtocol(nameOrFile: string, settings: readonly string[], cwd: string): Promise<Protocol> {
  const { $schema: _, ...merged } = await layeredSettings(PROTOCOLS, nameOrFile, settings, cwd);
  const parsed = protocolSchema.safeParse(merged);
  if (!parsed.success) {
    throw new NibbleflowError('InvalidInput', explainIssues(parsed.error, protocolSchema), {
      where: issuePlace(parsed.error, settings, nameOrFile),
    });
  }
  for (const metric of parsed.data.metrics) checkMetric(metric, nameOrFile);
  return parsed.data;
}

function checkMetric(name: string, where: string): void {
  const known = [...SET_METRICS.map(({ id }) => id), ...SAME_SEED];
  if (known.includes(name)) return;
  const nearest = nearestName(name, known);
  throw new NibbleflowError('InvalidInput', `there is no metric ${name}`, {
    where: `metrics of ${where}`,
    fix: nearest === undefined ? `Metrics: ${known.join(', ')}` : `Did you mean ${nearest}?`,
  });
}
