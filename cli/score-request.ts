import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { z } from 'zod';
import { NibbleflowError, nearestName } from '../contracts/errors.js';
import { type MetricSettings, metricSettingsSchema, protocolSchema } from '../contracts/protocol.js';
import type { ExtractorSpec } from '../evaluation/features/extractor-spec.js';
import type { FeatureOutput, SetMetric } from '../evaluation/metrics/set-metric.js';
import { SET_METRICS } from '../evaluation/metrics/set-metrics.js';
import { applySettings } from './apply-settings.js';

/** Metrics of pairs of pictures, which come with --paired. */
const PAIRED_METRICS = ['psnr', 'ssim', 'lpips'] as const;

const settingsSchema = z.strictObject({ settings: metricSettingsSchema.prefault({}) });

/** What to compute. */
export interface MetricRequest {
  readonly metrics: readonly SetMetric[];
  readonly settings: MetricSettings;
}

/**
 * The metrics of `--metrics`, or those that protocols compute by default as far as the extractor allows, and their settings.
 * Throws InvalidInput for unknown names, with the nearest one, and for metrics that the extractor cannot serve.
 */
export function checkMetrics(
  names: string | undefined,
  settings: readonly string[],
  spec: ExtractorSpec,
  paired: boolean,
): MetricRequest {
  const wanted = names === undefined ? undefined : names.split(',').map((name) => name.trim());
  const metrics =
    wanted === undefined ? defaultMetrics(spec) : wanted.flatMap((name) => namedMetric(name, spec, paired));
  return { metrics: [...new Set(metrics)], settings: applySettings(settingsSchema, settings).settings };
}

function defaultMetrics(spec: ExtractorSpec): SetMetric[] {
  const usual = protocolSchema.parse({ name: 'defaults' }).metrics;
  return SET_METRICS.filter(({ id, output }) => usual.includes(id) && hasOutput(spec, output));
}

function namedMetric(name: string, spec: ExtractorSpec, paired: boolean): SetMetric[] {
  const metric = SET_METRICS.find(({ id }) => id === name);
  if (metric !== undefined) {
    if (hasOutput(spec, metric.output)) return [metric];
    throw new NibbleflowError('InvalidInput', `${name} needs ${metric.output}, which ${spec.name} does not make`, {
      where: '--metrics',
      fix: 'Leave it out, or choose another extractor with --extractor.',
    });
  }
  if (PAIRED_METRICS.some((known) => known === name)) {
    if (paired) return [];
    throw new NibbleflowError('InvalidInput', `${name} compares pictures of the same name`, {
      where: '--metrics',
      fix: 'Add --paired.',
    });
  }
  const known = [...SET_METRICS.map(({ id }) => id), ...PAIRED_METRICS];
  const nearest = nearestName(name, known);
  throw new NibbleflowError('InvalidInput', `there is no metric ${name === '' ? 'without a name' : name}`, {
    where: '--metrics',
    fix:
      name === 'fid'
        ? 'FID is the metric frechet with --extractor inception-2015.'
        : nearest === undefined
          ? `Metrics: ${known.join(', ')}`
          : `Did you mean ${nearest}?`,
  });
}

function hasOutput({ outputs }: ExtractorSpec, output: FeatureOutput): boolean {
  return output === 'pool' || outputs[output] !== undefined;
}

/** What a path on the command line is. */
export type PathKind = 'folder' | 'file';

/**
 * Whether a path is a folder or a file. Throws InvalidInput when there is nothing.
 * @param role what the path stands for, in messages: "the reference"
 */
export async function pathKind(path: string, role: string): Promise<PathKind> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const what = error.code === 'ENOENT' ? `${role} does not exist` : `${role} cannot be read: ${error.code}`;
    throw new NibbleflowError('InvalidInput', what, { where: resolve(path), cause: error });
  });
  return found.isDirectory() ? 'folder' : 'file';
}

/** The absolute path of a folder. Throws InvalidInput for everything else. */
export async function existingFolder(path: string, role: string): Promise<string> {
  if ((await pathKind(path, role)) === 'folder') return resolve(path);
  throw new NibbleflowError('InvalidInput', `${role} is not a folder`, {
    where: resolve(path),
    fix: 'Give a folder of pictures.',
  });
}
