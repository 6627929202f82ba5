import { existsSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { extractorsFolder, findExtractor } from '../../activities/extractor-folder.js';
import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import { type NightConfig, type NightSpec, nightSpecSchema } from '../../contracts/nights.js';
import { SET_METRICS } from '../../evaluation/metrics/set-metrics.js';
import { SAME_SEED_METRICS } from '../../evaluation/report/score-groups.js';
import type { LoadedConfig } from '../load-config.js';
import { loadProtocol } from '../load-protocol.js';
import { refuseTooFew } from '../prepare-evaluation.js';
import { nameForIds } from '../prepare-run.js';

/** A night as it is wanted, and what should be known of it before it is applied. */
export interface WantedNight {
  readonly spec: NightSpec;
  readonly warnings: readonly string[];
}

/**
 * The nights of temporal.config.ts with protocols read, paths made absolute and names checked. Nothing is asked of a server. Throws
 * InvalidInput.
 */
export async function wantedNights(loaded: Pick<LoadedConfig, 'file' | 'config' | 'stateDir'>): Promise<WantedNight[]> {
  const { file, config } = loaded;
  if (file === null) return [];
  const nights: WantedNight[] = [];
  for (const [name, night] of Object.entries(config.nights)) nights.push(await wantedNight(name, night, file, loaded));
  return nights;
}

async function wantedNight(
  name: string,
  night: NightConfig,
  file: string,
  loaded: Pick<LoadedConfig, 'config' | 'stateDir'>,
): Promise<WantedNight> {
  const where = `nights.${name} of ${file}`;
  const folder = dirname(file);
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(folder, path));
  const { pipelines, protocol: protocolName, samples, device, threads, out, ...shared } = night;
  const settings = samples === undefined ? [] : [`samples=${samples}`];
  const protocol = await loadProtocol(protocolName, settings, folder);
  refuseTooFew(protocol);
  await findExtractor(protocol.extractor, extractorsFolder(loaded.stateDir));
  for (const metric of [...night.metrics, ...Object.keys(night.baseline.absolute)]) checkMetric(metric, where);
  const tracked = pipelines.map((pipeline) => ({
    name: pipeline.name ?? nameForIds(basename(pipeline.folder)),
    folder: absolute(pipeline.folder),
    against: pipeline.against === undefined ? null : absolute(pipeline.against),
    reference: pipeline.reference === undefined ? null : absolute(pipeline.reference),
  }));
  refuseEqualNames(
    tracked.map((pipeline) => pipeline.name),
    where,
  );
  const { devices } = loaded.config;
  const spec = nightSpecSchema.parse({
    ...{ schemaVersion: 1, name, owner: file, ...shared, pipelines: tracked, protocol },
    compute: { device: device ?? devices.default, threads: threads ?? devices.threads },
    out: out === undefined ? join(loaded.stateDir, 'nights', name) : absolute(out),
  });
  return { spec, warnings: missingFolders(spec) };
}

/** They may be made until the night: no reason to refuse, but a reason to speak. */
function missingFolders({ pipelines }: NightSpec): string[] {
  const paths = pipelines.flatMap(({ folder, against, reference }) => [folder, against, reference]);
  const missing = paths.filter((path): path is string => path !== null && !existsSync(path));
  return missing.map((path) => `${path} does not exist; a night without it fails`);
}

function checkMetric(metric: string, where: string): void {
  const known = [...SAME_SEED_METRICS, ...SET_METRICS.flatMap(({ id, values }) => values ?? [id]), 'clip-score'];
  if (known.includes(metric)) return;
  const nearest = nearestName(metric, known);
  throw new NibbleflowError('InvalidInput', `there is no metric ${metric}`, {
    where,
    fix: nearest === undefined ? `Metrics: ${known.join(', ')}` : `Did you mean ${nearest}?`,
  });
}

function refuseEqualNames(names: readonly string[], where: string): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  throw new NibbleflowError('InvalidInput', `two pipelines of the night are called ${twice}`, {
    where,
    fix: 'Give them different names: { name: …, folder: … }.',
  });
}
