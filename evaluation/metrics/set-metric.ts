import type { MetricSettings } from '../../contracts/protocol.js';
import type { FeatureRows } from '../features/feature-set.js';
import type { MatrixProducts } from '../linalg/matrix-products.js';

/** Which rows of a FeatureSet a metric reads. */
export type FeatureOutput = 'pool' | 'logits' | 'spatial';

/** What metrics compute with. */
export interface MetricContext {
  readonly products: MatrixProducts;
  readonly settings: MetricSettings;
  /** Of each fake row the real row made of the same seed (`partnerRows`), for tests and intervals; undefined for other sets. */
  readonly partners?: Uint32Array;
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
  readonly interval: 'student-t' | 'bootstrap' | 'subsets' | 'jackknife' | 'wilson' | null;
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
  /** Names of its values when they are not just its id: what is reported as missing when it cannot be computed. */
  readonly values?: readonly string[];
  /** Why these numbers of rows, with d numbers each, do not do under these settings; null when they do. */
  obstacle?(fake: number, real: number, settings: MetricSettings, d: number): string | null;
  compute(fake: FeatureRows, real: FeatureRows, context: MetricContext): Promise<readonly MetricValue[]>;
}
