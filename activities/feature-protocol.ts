import { createHash } from 'node:crypto';
import { canonicalJson } from '../contracts/canonical-json.js';
import type { Extractor } from '../evaluation/features/extractor-spec.js';
import { inputTransform, type ResizeMode } from '../evaluation/features/resize-modes.js';
import type { FeatureOrigin } from '../evaluation/statistics/reference-statistics.js';

/** Where features come from that this extractor makes of pictures resized in this way, and how many of them there are. */
export function featureOrigin(
  { spec, sha256 }: Extractor,
  resize: ResizeMode,
): FeatureOrigin & { readonly dimension: number } {
  const { name, input, outputs } = spec;
  const decides = { sha256, size: input.size, layout: input.layout, ...inputTransform(spec, resize), outputs };
  return {
    extractor: { name, sha256 },
    resize,
    protocol: createHash('sha256').update(canonicalJson(decides)).digest('hex'),
    dimension: outputs.features.dimension,
  };
}
