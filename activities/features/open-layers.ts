import { readFile } from 'node:fs/promises';
import { type Extractor, extractorLabel } from '../../evaluation/features/extractor-spec.js';
import { withLayerOutputs } from '../../evaluation/features/layer-outputs.js';
import type { ResizeMode } from '../../evaluation/features/resize-modes.js';
import { type LpipsOptions, lpipsName } from '../../evaluation/metrics/lpips.js';
import type { Executor } from '../../models/executor.js';

/** What pairedImageScores needs for the LPIPS-style distance, and the distance's name. */
export interface OpenedLayers extends LpipsOptions {
  readonly name: string;
}

/**
 * Opens the layers of an extractor for the LPIPS-style distance; null when it declares none. The caller releases
 * `layers`. Throws InvalidModel when its graph does not have them.
 */
export async function openLayers(
  executor: Executor,
  extractor: Extractor,
  mode: ResizeMode,
): Promise<OpenedLayers | null> {
  const { spec, model, sha256 } = extractor;
  if (spec.layers === undefined) return null;
  const bytes = model instanceof Uint8Array ? model : await readFile(model.path);
  const layers = await executor.open(withLayerOutputs(bytes, spec));
  return { layers, spec, mode, name: lpipsName(extractorLabel({ name: spec.name, sha256, resize: mode })) };
}
