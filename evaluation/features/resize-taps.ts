/**
 * Every resampling here is separable: output pixel i along an axis is Σ weight·source over a run of source pixels. The
 * families differ in where the centre of i lies, in the filter, and in whether the filter widens when a picture shrinks:
 *   Pillow           centre (i + ½)·s, widened (antialiased), cut at the border and normalised again   (s = source / target)
 *   torch antialias  the same; with corners aligned s = (source − 1) / (target − 1), and the centre stays (i + ½)·s
 *   torch            position (i + ½)·s − ½, or i·s with corners aligned; not widened; the border pixel is repeated
 *   TensorFlow 1     position i·s; not widened: the picture moves towards the upper left
 *   area             the mean of pixels ⌊i·s⌋ … ⌈(i + 1)·s⌉ − 1
 * References: Pillow's and torch's outputs in test/golden/metrics/resize; Keys 1981 (cubic convolution).
 */

/** Weights of the source pixels first … first + weights.length − 1 for one output pixel. */
export interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

/** Taps of every output pixel along an axis. */
export type TapRule = (source: number, target: number) => Taps[];

interface Filter {
  /** Half width in source pixels when enlarging. */
  readonly support: number;
  readonly weight: (x: number) => number;
}

/** Keys' cubic. */
function cubic(a: number): (x: number) => number {
  return (x) => {
    const t = Math.abs(x);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
  };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Pillow's filters; torch's antialiased ones are the first two. */
export const FILTERS = {
  bicubic: { support: 2, weight: cubic(-0.5) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
} as const satisfies Record<string, Filter>;

/** torch's bicubic without antialias. */
const STEEP_CUBIC = cubic(-0.75);

/** Pillow's and torch's antialiased taps. */
export function widened(filter: Filter, alignCorners = false): TapRule {
  return (source, target) => {
    const scale = alignCorners ? cornerScale(source, target) : source / target;
    const spread = Math.max(scale, 1);
    const support = filter.support * spread;
    return each(target, (position) => {
      const centre = (position + 0.5) * scale;
      const first = Math.max(0, Math.trunc(centre - support + 0.5));
      const end = Math.min(source, Math.trunc(centre + support + 0.5));
      const raw = each(end - first, (i) => filter.weight((i + first - centre + 0.5) / spread));
      const sum = raw.reduce((a, b) => a + b, 0);
      return { first, weights: raw.map((weight) => (sum === 0 ? weight : weight / sum)) };
    });
  };
}

/** Where output pixel i lies among the source pixels, in the float32 steps of torch and TensorFlow. */
export type PositionRule = (source: number, target: number) => (position: number) => number;

export const POSITIONS = {
  'pixel centres': (source, target) => {
    const scale = Math.fround(source / target);
    return (position) => Math.fround(scale * (position + 0.5) - 0.5);
  },
  corners: (source, target) => {
    const scale = Math.fround(cornerScale(source, target));
    return (position) => Math.fround(scale * position);
  },
  'upper left': (source, target) => {
    const scale = Math.fround(source / target);
    return (position) => Math.fround(scale * position);
  },
} as const satisfies Record<string, PositionRule>;

/** Two taps around a position, which is moved into the picture first. */
export function linear(positions: PositionRule): TapRule {
  return (source, target) => {
    const positionOf = positions(source, target);
    return each(target, (index) => {
      const position = Math.max(0, positionOf(index));
      const first = Math.min(source - 1, Math.floor(position));
      const share = Math.min(1, position - first);
      return first + 1 < source ? { first, weights: [1 - share, share] } : { first, weights: [1] };
    });
  };
}

/** Four taps of Keys' cubic with a = −0.75; pixels outside are the border pixel. */
export function steepCubic(positions: PositionRule): TapRule {
  return (source, target) => {
    const positionOf = positions(source, target);
    return each(target, (index) => {
      const position = positionOf(index);
      const start = Math.floor(position) - 1;
      const first = inside(start, source);
      const weights = each(inside(start + 3, source) - first + 1, () => 0);
      for (let tap = start; tap < start + 4; tap += 1) {
        const at = inside(tap, source) - first;
        weights[at] = (weights[at] as number) + STEEP_CUBIC(tap - position);
      }
      return { first, weights };
    });
  };
}

/** One source pixel: ⌊(i + shift)·s⌋, in torch's float32. */
export function nearest(shift: number): TapRule {
  return (source, target) => {
    const scale = Math.fround(source / target);
    return each(target, (index) => pixel(Math.fround(scale * (index + shift)), source));
  };
}

/** One source pixel: ⌊½·s + s + … + s⌋, summed up in float64 as Pillow's affine scaling does. */
export function pillowNearest(source: number, target: number): Taps[] {
  const scale = source / target;
  let position = scale / 2;
  return each(target, () => {
    const taps = pixel(position, source);
    position += scale;
    return taps;
  });
}

function pixel(position: number, source: number): Taps {
  return { first: Math.min(source - 1, Math.floor(position)), weights: [1] };
}

/** torch's adaptive average. */
export function area(source: number, target: number): Taps[] {
  return each(target, (index) => {
    const first = Math.floor((index * source) / target);
    const count = Math.ceil(((index + 1) * source) / target) - first;
    return { first, weights: each(count, () => 1 / count) };
  });
}

function cornerScale(source: number, target: number): number {
  return target > 1 ? (source - 1) / (target - 1) : 0;
}

function inside(index: number, count: number): number {
  return Math.min(count - 1, Math.max(0, index));
}

function each<T>(length: number, make: (index: number) => T): T[] {
  return Array.from({ length }, (_, index) => make(index));
}
