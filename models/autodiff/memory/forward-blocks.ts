import type { Node } from '../../onnx/graph.js';

/**
 * Cuts the forward part of a graph into blocks of consecutive nodes for recomputation (Chen, Xu, Zhang, Guestrin 2016,
 * "Training Deep Nets with Sublinear Memory Cost"). What crosses a cut is kept, the rest of a block is computed again when
 * its backward part begins, so that
 *
 *   peak ≈ Σ kept + max over blocks of what the block's backward part reads
 *
 * and the last block, whose backward part comes first, is never computed twice. For each number of blocks cuts are put where
 * the least crosses; the number with the smallest estimate wins.
 */
export interface ForwardBlocks {
  /** Block of each node. */
  readonly blockOf: readonly number[];
  readonly count: number;
  readonly estimatedBytes: number;
}

const MOST_BLOCKS = 32;
/** Share of a block's size by which its end may move to where less crosses. */
const SLACK = 0.5;

/**
 * @param saved forward values that the backward part reads
 * @param bytesOf size of a value; 0 for what depends on no input
 */
export function forwardBlocks(
  forward: readonly Node[],
  saved: ReadonlySet<string>,
  bytesOf: (value: string) => number,
): ForwardBlocks {
  const savedBytes = forward.map((node) =>
    node.outputs.reduce((sum, output) => sum + (saved.has(output) ? bytesOf(output) : 0), 0),
  );
  const crossing = crossingBytes(forward, bytesOf);
  let best: ForwardBlocks | undefined;
  for (let wanted = 1; wanted <= MOST_BLOCKS; wanted += 1) {
    const blockOf = cut(savedBytes, crossing, wanted);
    const estimatedBytes = estimate(forward, blockOf, savedBytes, bytesOf);
    const count = (blockOf.at(-1) ?? 0) + 1;
    if (best === undefined || estimatedBytes < best.estimatedBytes) best = { blockOf, count, estimatedBytes };
  }
  return best ?? { blockOf: [], count: 0, estimatedBytes: 0 };
}

/** Values that a node of another block than their own reads. */
export function crossingValues(forward: readonly Node[], blockOf: readonly number[]): Set<string> {
  const producer = new Map(forward.flatMap((node, at) => node.outputs.map((output) => [output, at] as const)));
  const found = new Set<string>();
  forward.forEach((node, at) => {
    for (const input of node.inputs) {
      const from = producer.get(input);
      if (from !== undefined && blockOf[from] !== blockOf[at]) found.add(input);
    }
  });
  return found;
}

/** Bytes of the values that are alive between each node and the next. */
function crossingBytes(forward: readonly Node[], bytesOf: (value: string) => number): number[] {
  const lastRead = new Map<string, number>();
  forward.forEach((node, at) => {
    for (const input of node.inputs) lastRead.set(input, at);
  });
  const change = new Array<number>(forward.length + 1).fill(0);
  forward.forEach((node, at) => {
    for (const output of node.outputs) {
      const until = lastRead.get(output);
      if (until === undefined) continue;
      change[at] = (change[at] ?? 0) + bytesOf(output);
      change[until] = (change[until] ?? 0) - bytesOf(output);
    }
  });
  let alive = 0;
  return change.map((difference) => {
    alive += difference;
    return alive;
  });
}

/** Blocks of about equal saved bytes, each ended where the least crosses. */
function cut(savedBytes: readonly number[], crossing: readonly number[], wanted: number): number[] {
  const target = savedBytes.reduce((sum, bytes) => sum + bytes, 0) / wanted;
  const blockOf: number[] = [];
  let block = 0;
  let start = 0;
  while (start < savedBytes.length) {
    let [held, end, least] = [0, savedBytes.length - 1, Number.POSITIVE_INFINITY];
    for (let at = start; at < savedBytes.length && held <= (1 + SLACK) * target; at += 1) {
      held += savedBytes[at] ?? 0;
      if (held < (1 - SLACK) * target || (crossing[at] ?? 0) >= least) continue;
      [end, least] = [at, crossing[at] ?? 0];
    }
    while (blockOf.length <= end) blockOf.push(block);
    start = end + 1;
    block += 1;
  }
  return blockOf;
}

function estimate(
  forward: readonly Node[],
  blockOf: readonly number[],
  savedBytes: readonly number[],
  bytesOf: (value: string) => number,
): number {
  const perBlock = new Map<number, number>();
  savedBytes.forEach((bytes, at) => {
    const block = blockOf[at] ?? 0;
    perBlock.set(block, (perBlock.get(block) ?? 0) + bytes);
  });
  const last = perBlock.get(blockOf.at(-1) ?? 0) ?? 0;
  const kept = [...crossingValues(forward, blockOf)].reduce((sum, value) => sum + bytesOf(value), 0);
  return kept + Math.max(last, ...perBlock.values());
}
