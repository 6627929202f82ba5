import type { FoundLayer } from './find-layers.js';

/**
 * Readable, unique names from node names: `/unet/down_blocks.0/resnets.0/conv1/Conv` → `down_blocks.0.resnets.0.conv1`.
 * Dropped are the first path segment when all layers share it (the component) and the operator at the end; what follows the
 * operator stays (`…/conv_shortcut/Conv.part1` → `….conv_shortcut.part1`). Matrix products of activations get the ending
 * that `productEnding` gives them. Equal names are told apart by `.2`, `.3`, ….
 */
export function layerNames(
  layers: readonly FoundLayer[],
  productEnding: (layer: FoundLayer) => string,
): ReadonlyMap<FoundLayer, string> {
  const paths = layers.map((layer) => layer.node.name.replace(/^\/+/, '').split('/'));
  const component = paths[0]?.[0];
  const shared = paths.length > 1 && paths.every((path) => path.length > 2 && path[0] === component);
  const names = new Map<FoundLayer, string>();
  const taken = new Set<string>();
  for (const [index, layer] of layers.entries()) {
    const path = (paths[index] ?? []).slice(shared ? 1 : 0);
    const wanted = withoutOperator(path, layer) + (layer.kind === 'product' ? productEnding(layer) : '');
    names.set(layer, claim(wanted, taken));
  }
  return names;
}

function withoutOperator(path: readonly string[], layer: FoundLayer): string {
  const last = path.at(-1) ?? '';
  const ending = new RegExp(`^${layer.opType}(?:_\\d+)?(\\..+)?$`).exec(last);
  if (ending === null || path.length < 2) return path.join('.');
  return path.slice(0, -1).join('.') + (ending[1] ?? '');
}

function claim(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let count = 2; taken.has(name); count += 1) name = `${wanted}.${count}`;
  taken.add(name);
  return name;
}
