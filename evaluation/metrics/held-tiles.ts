import type { Matrix } from '../../models/linalg/matrix.js';
import type { FeatureRows } from '../features/feature-set.js';
import type { HeldMatrices, HeldMatrix } from '../linalg/held-matrices.js';

/** Numbers of all tiles that are held at once, 256 MiB of float64: both sides of 8,000 rows of 2048 features. */
const HELD_ELEMENTS = 2 ** 25;

export type Side = 'fake' | 'real';

/**
 * Tiles of `step` rows of two sets, centred, where products are computed. They travel as the float32 that they are, and stay
 * until there is no room: the one that was used longest ago goes first.
 */
export class HeldTiles {
  private readonly held = new Map<string, HeldMatrix>();
  private readonly most: number;

  constructor(
    private readonly sides: Readonly<Record<Side, FeatureRows>>,
    private readonly cut: { readonly centre: Float64Array; readonly step: number },
    private readonly matrices: HeldMatrices,
  ) {
    this.most = Math.max(2, Math.floor(HELD_ELEMENTS / (cut.step * sides.real.d)));
  }

  /** First rows of the tiles of a side. */
  starts(side: Side): number[] {
    const { step } = this.cut;
    return Array.from({ length: Math.ceil(this.sides[side].n / step) }, (_, i) => i * step);
  }

  /** Inner products x′·y′ of two tiles, begun: await what it gives. A failure is nobody's when nobody does. */
  async begin(
    rowSide: Side,
    firstRow: number,
    columnSide: Side,
    firstColumn: number,
  ): Promise<{ result: Promise<Matrix> }> {
    const left = await this.tile(rowSide, firstRow);
    const right = await this.tile(columnSide, firstColumn);
    const result = this.matrices.readProduct(left, right, { turnB: true });
    result.catch(() => undefined);
    return { result };
  }

  private async tile(side: Side, first: number): Promise<HeldMatrix> {
    const key = `${side} ${first}`;
    const found = this.held.get(key) ?? (await this.upload(side, first));
    this.held.delete(key);
    this.held.set(key, found);
    return found;
  }

  private async upload(side: Side, first: number): Promise<HeldMatrix> {
    const { centre, step } = this.cut;
    const rows = this.sides[side];
    for (const [key, oldest] of this.held) {
      if (this.held.size < this.most) break;
      this.held.delete(key);
      await this.matrices.free(oldest);
    }
    return this.matrices.holdCentred(await rows.read(first, Math.min(rows.n, first + step)), centre);
  }
}
