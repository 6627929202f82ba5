import type { MetricSettings } from '../../contracts/protocol.js';
import type { FeatureRows } from '../features/feature-set.js';
import type { MatrixProducts } from '../linalg/matrix-products.js';

/** Which rows of a FeatureSet a metric reads. */
export type FeatureOutput = 'pool' | 'logits' | 'spatial';

/** What metrics compute with. */
export interface MetricContext {
  readonly products: MatrixProducts;
  readonly settings: MetricSettings;
  /** Lets heartbeats and cancellation run; called at least every second of synchronous work. */
  breathe(): Promise<void>;
}

/** A number of a metric; metrics that give several (precision, recall …) give one each. */
export interface MetricValue {
  /** Row name of the score, e.g. `kid`, `precision`. */
  readonly metric: string;
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
  readonly interval: 'student-t' | 'bootstrap' | 'subsets' | 'jackknife' | null;
  readonly better: 'higher' | 'lower' | null;
  readonly unit: string;
  readonly pValue?: number;
  readonly notes?: readonly string[];
}

/** A metric of two sets of features, `fake` being the evaluated one. One file and one row of the table each. */
export interface SetMetric {
  /** Name in protocols, e.g. `frechet`, `kid`, `prdc`. */
  readonly id: string;
  readonly output: FeatureOutput;
  /** Whether `real` is looked at: the Inception score has one side. */
  readonly sides: 1 | 2;
  /** Rows that it needs on each side at least. */
  readonly minimum: number;
  compute(fake: FeatureRows, real: FeatureRows, context: MetricContext): Promise<readonly MetricValue[]>;
}
