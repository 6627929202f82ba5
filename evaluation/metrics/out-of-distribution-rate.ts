import { quantile } from '../statistics/quantile.js';
import { wilsonInterval } from '../statistics/wilson-interval.js';
import { NeighbourDistances } from './neighbour-distances.js';
import { type PairConsumer, type PairGeometry, type PairTile, pairwiseMetric } from './pairwise-pass.js';
import { offerWithin, squaredDistance, tooFewNeighbours } from './precision-recall.js';
import type { MetricValue } from './set-metric.js';

/**
 * Out-of-distribution rate: the share of fake rows whose distance to their k-th nearest real row exceeds the 95 % quantile of that
 * distance among the real rows themselves, each left out of its own neighbours (Sun et al. 2022, deep nearest neighbours). 5 % is
 * what pictures of the real distribution get; pictures that averages forgive, being few, show here.
 */
const QUANTILE = 0.95;

class OutOfDistribution implements PairConsumer {
  private readonly within: NeighbourDistances;
  private readonly across: NeighbourDistances;

  constructor(
    private readonly geometry: PairGeometry,
    private readonly k: number,
  ) {
    this.within = new NeighbourDistances(geometry.real.n, k);
    this.across = new NeighbourDistances(geometry.fake.n, k);
  }

  add(tile: PairTile): void {
    if (tile.block === 'real') offerWithin(tile, this.geometry.real, this.within);
    if (tile.block === 'cross') this.offerAcross(tile);
  }

  private offerAcross({ firstRow, firstColumn, products }: PairTile): void {
    const { rows, cols, data } = products;
    const { fake, real } = this.geometry;
    const { kth } = this.across;
    for (let i = 0; i < rows; i += 1) {
      const row = firstRow + i;
      const own = fake.squares[row] as number;
      for (let j = 0; j < cols; j += 1) {
        const squared = squaredDistance(data[i * cols + j] as number, own, real.squares[firstColumn + j] as number);
        if (squared < (kth[row] as number)) this.across.offer(row, squared);
      }
    }
  }

  async finish(): Promise<readonly MetricValue[]> {
    const limit = quantile(this.within.kth.map(Math.sqrt), QUANTILE);
    const outside = Uint8Array.from(this.across.kth, (squared) => (Math.sqrt(squared) > limit ? 1 : 0));
    const count = outside.reduce((sum, one) => sum + one, 0);
    return [
      {
        metric: 'ood-rate',
        value: count / outside.length,
        ...wilsonInterval(count, outside.length),
        interval: 'wilson',
        better: 'lower',
        unit: '',
        notes: [`farther than 95 % of the other side from their ${this.k} nearest there; 0.05 is what chance gives`],
      },
    ];
  }
}

/** `ood-rate` */
export const outOfDistributionRate = pairwiseMetric({
  id: 'ood-rate',
  minimum: 2,
  obstacle: (_fake, real, { neighbours }) => tooFewNeighbours(real, neighbours),
  consumer: (geometry, context) => new OutOfDistribution(geometry, context.settings.neighbours),
});
