import { type Breathe, withoutPause } from '../../models/linalg/breathe.js';

/**
 * Which channels share a range. A group of G channels, quantized with one range per position, has errors of variance range² / 12
 * times a constant, so an order of the channels costs
 *
 *   Σ_groups ( Σ_{c in group} w_c ) · Σ_positions ( max(x, 0) − min(x, 0) )²      (signed: ( 2 max|x| )²)
 *
 * with w_c what an error of channel c does to the layers that read it. The order starts sorted by the channels' means, which
 * brings together channels of one sign, and is improved by swaps of two channels until none lowers the cost. Sorting channels of
 * alike ranges together is RPTQ's idea (Yuan et al. 2023, arXiv 2304.01089) and DGQ's; here ranges are found at run time, so
 * what counts is that channels are large and of one sign at the same places.
 */
export interface ChannelRows {
  /** [positions, channels], row-major: values that the channels take together. */
  readonly values: Float32Array;
  readonly channels: number;
  /** w_c ≥ 0, one per channel. */
  readonly weights: Float64Array;
  /** G; divides the channels. */
  readonly groupSize: number;
  readonly symmetric: boolean;
}

export interface ChannelArrangement {
  /** The channel at every place; a permutation. */
  readonly order: readonly number[];
  /** Cost of the given order and of this one, on these rows. */
  readonly cost: { readonly given: number; readonly arranged: number };
}

/** Sweeps over all pairs; later ones hardly find anything. */
const MOST_SWEEPS = 4;

/** Relative gain below which a swap is not worth it: rounding of the sums. */
const LEAST_GAIN = 1e-9;

/** @param breathe awaited between rows of pairs, so that a caller can do something else meanwhile */
export async function arrangeChannels(rows: ChannelRows, breathe: Breathe = withoutPause): Promise<ChannelArrangement> {
  const given = Array.from({ length: rows.channels }, (_, channel) => channel);
  const means = channelMeans(rows);
  const sorted = given.toSorted((a, b) => (means[a] as number) - (means[b] as number) || a - b);
  const search = new SwapSearch(rows, sorted);
  for (let sweep = 0; sweep < MOST_SWEEPS && (await search.sweep(breathe)); sweep += 1);
  const cost = { given: new SwapSearch(rows, given).total(), arranged: search.total() };
  return { order: cost.arranged < cost.given ? search.order : given, cost };
}

function channelMeans({ values, channels }: ChannelRows): Float64Array {
  const sums = new Float64Array(channels);
  for (let at = 0; at < values.length; at += 1) {
    const channel = at % channels;
    sums[channel] = (sums[channel] as number) + (values[at] as number);
  }
  return sums;
}

/** The two largest and two smallest values of a group at every position, and who has the extreme one. */
interface Extremes {
  readonly high: Float32Array;
  readonly nextHigh: Float32Array;
  readonly low: Float32Array;
  readonly nextLow: Float32Array;
  readonly highest: Int32Array;
  readonly lowest: Int32Array;
  weight: number;
  cost: number;
}

class SwapSearch {
  readonly order: number[];
  private readonly positions: number;
  private readonly columns: Float32Array[];
  private readonly groups: Extremes[];

  constructor(
    private readonly rows: ChannelRows,
    order: readonly number[],
  ) {
    const { values, channels, groupSize } = rows;
    this.order = [...order];
    this.positions = values.length / channels;
    this.columns = Array.from({ length: channels }, (_, channel) =>
      Float32Array.from({ length: this.positions }, (_unused, at) => values[at * channels + channel] as number),
    );
    this.groups = Array.from({ length: channels / groupSize }, (_, group) => this.extremesOf(group));
  }

  total(): number {
    return this.groups.reduce((sum, { cost }) => sum + cost, 0);
  }

  /** Tries every pair once; says whether any swap was made. */
  async sweep(breathe: Breathe): Promise<boolean> {
    const { order, groups } = this;
    const { groupSize, channels } = this.rows;
    let changed = false;
    for (let a = 0; a < channels; a += 1) {
      await breathe();
      const groupA = Math.floor(a / groupSize);
      for (let b = (groupA + 1) * groupSize; b < channels; b += 1) {
        const groupB = Math.floor(b / groupSize);
        const now = (groups[groupA] as Extremes).cost + (groups[groupB] as Extremes).cost;
        const [x, y] = [order[a] as number, order[b] as number];
        const first = this.costWith(groupA, x, y);
        if (first >= now || first + this.costWith(groupB, y, x) >= now * (1 - LEAST_GAIN)) continue;
        order[a] = y;
        order[b] = x;
        groups[groupA] = this.extremesOf(groupA);
        groups[groupB] = this.extremesOf(groupB);
        changed = true;
      }
    }
    return changed;
  }

  /** Cost of a group when channel `out` leaves it and channel `into` comes in. */
  private costWith(group: number, out: number, into: number): number {
    const { high, nextHigh, low, nextLow, highest, lowest, weight } = this.groups[group] as Extremes;
    const column = this.columns[into] as Float32Array;
    const { weights, symmetric } = this.rows;
    let sum = 0;
    for (let at = 0; at < this.positions; at += 1) {
      const value = column[at] as number;
      const top = (highest[at] === out ? nextHigh[at] : high[at]) as number;
      const bottom = (lowest[at] === out ? nextLow[at] : low[at]) as number;
      const range = rangeOf(Math.max(value, top), Math.min(value, bottom), symmetric);
      sum += range * range;
    }
    return sum * (weight - (weights[out] as number) + (weights[into] as number));
  }

  private extremesOf(group: number): Extremes {
    const { groupSize, weights, symmetric } = this.rows;
    const members = this.order.slice(group * groupSize, (group + 1) * groupSize);
    const found = emptyExtremes(this.positions);
    for (const channel of members) addChannel(found, channel, this.columns[channel] as Float32Array);
    let sum = 0;
    for (let at = 0; at < this.positions; at += 1) {
      const range = rangeOf(found.high[at] as number, found.low[at] as number, symmetric);
      sum += range * range;
    }
    found.weight = members.reduce((total, channel) => total + (weights[channel] as number), 0);
    found.cost = sum * found.weight;
    return found;
  }
}

/** Ranges hold zero, so extremes start there, and nobody has them. */
function emptyExtremes(positions: number): Extremes {
  const zeros = (): Float32Array => new Float32Array(positions);
  const nobody = (): Int32Array => new Int32Array(positions).fill(-1);
  return {
    ...{ high: zeros(), nextHigh: zeros(), low: zeros(), nextLow: zeros(), weight: 0, cost: 0 },
    ...{ highest: nobody(), lowest: nobody() },
  };
}

function addChannel(found: Extremes, channel: number, column: Float32Array): void {
  const { high, nextHigh, low, nextLow, highest, lowest } = found;
  for (let at = 0; at < column.length; at += 1) {
    const value = column[at] as number;
    if (value > (high[at] as number)) {
      nextHigh[at] = high[at] as number;
      high[at] = value;
      highest[at] = channel;
    } else if (value > (nextHigh[at] as number)) nextHigh[at] = value;
    if (value < (low[at] as number)) {
      nextLow[at] = low[at] as number;
      low[at] = value;
      lowest[at] = channel;
    } else if (value < (nextLow[at] as number)) nextLow[at] = value;
  }
}

function rangeOf(high: number, low: number, symmetric: boolean): number {
  return symmetric ? 2 * Math.max(high, -low) : high - low;
}
