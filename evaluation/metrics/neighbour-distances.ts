/**
 * The k smallest of the numbers that are offered to each of n rows, without ever sorting a row: the k-th nearest neighbour of
 * streamed distances.
 */
export class NeighbourDistances {
  /** k-th smallest so far of each row [n], Infinity before k numbers: read it first and offer only what is smaller. */
  readonly kth: Float64Array;
  private readonly smallest: Float64Array;

  constructor(
    n: number,
    private readonly k: number,
  ) {
    if (!Number.isInteger(k) || k < 1) throw new RangeError(`no number of neighbours: ${k}`);
    this.kth = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
    this.smallest = new Float64Array(n * k).fill(Number.POSITIVE_INFINITY);
  }

  /** Takes a number that is smaller than `kth[row]`. */
  offer(row: number, value: number): void {
    const { smallest, k } = this;
    const start = row * k;
    let at = start + k - 1;
    while (at > start && (smallest[at - 1] as number) > value) {
      smallest[at] = smallest[at - 1] as number;
      at -= 1;
    }
    smallest[at] = value;
    this.kth[row] = smallest[start + k - 1] as number;
  }
}
