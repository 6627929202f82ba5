/**
 * Unique node names, in order: a node without a name becomes `<opType>_<index>`, a repeated name gets `_1`, `_2` …
 * The same file always gives the same names.
 */
export function uniqueNodeNames(nodes: readonly { readonly name: string; readonly opType: string }[]): string[] {
  const reserved = new Set(nodes.map((node) => node.name));
  const used = new Set<string>();
  return nodes.map((node, index) => {
    const wanted = node.name === '' ? `${node.opType}_${index}` : node.name;
    const own = node.name !== '' && !used.has(node.name);
    let name = wanted;
    for (let suffix = 1; !own && (used.has(name) || reserved.has(name)); suffix += 1) name = `${wanted}_${suffix}`;
    used.add(name);
    return name;
  });
}
