import { describe, expect, test } from 'vitest';
import { reorderedRows } from '../../../evaluation/features/feature-set.js';
import { kernelDistance, kernelInceptionDistance } from '../../../evaluation/metrics/kernel-inception-distance.js';
import { KernelSums } from '../../../evaluation/metrics/kernel-sums.js';
import { pairwisePass } from '../../../evaluation/metrics/pairwise-pass.js';
import { permutation } from '../../../models/tensors/random.js';
import { goldenNpy } from '../golden.js';
import { GOLDEN_CASES, goldenFeatures, metricContext, namedValue, normalRows } from './metric-context.js';

interface Expected {
  readonly kid: {
    readonly full_unbiased_float64: number;
    readonly subsets_float64: { readonly mean: number; readonly std: number };
  };
}

/** The golden set's own: relative to the value, and to the kernel's entries whose difference it is. */
const GOLDEN_RELATIVE = 1e-6;
const GOLDEN_OF_KERNEL = 1e-12;

/** Standard errors a mean may be off: 1 in 15,000 draws of a right one. */
const SIGMAS = 4;

function indexRows(path: string): Uint32Array[] {
  const { dims, data } = goldenNpy(path);
  const [count = 0, size = 0] = dims;
  return Array.from({ length: count }, (_, s) =>
    Uint32Array.from({ length: size }, (_, i) => Number(data[s * size + i])),
  );
}

/** Mean of (x·y/d + 1)³ over pairs across the sets, by its definition. */
async function meanKernel(name: string): Promise<number> {
  const { fake, real } = goldenFeatures(name);
  const [x, y] = await Promise.all([fake.read(0, fake.n), real.read(0, real.n)]);
  let sum = 0;
  for (let i = 0; i < fake.n; i += 1) {
    for (let j = 0; j < real.n; j += 1) {
      let product = 0;
      for (let k = 0; k < fake.d; k += 1) product += (x[i * fake.d + k] ?? 0) * (y[j * fake.d + k] ?? 0);
      sum += (product / fake.d + 1) ** 3;
    }
  }
  return sum / (fake.n * real.n);
}

describe('the kernel inception distance', () => {
  test.each(GOLDEN_CASES)(
    'of the golden case %s is the reference value, full and of the given subsets',
    async (name) => {
      const { fake, real, expected } = goldenFeatures<Expected>(name);
      const subsets = {
        fake: indexRows(`metrics/features/${name}/kid_subset_indices_fake.npy`),
        real: indexRows(`metrics/features/${name}/kid_subset_indices_real.npy`),
      };
      const none = new Uint32Array(0);
      let sums: KernelSums | undefined;
      const factory = (geometry: ConstructorParameters<typeof KernelSums>[0]) => {
        const made = new KernelSums(geometry, subsets, { fake: none, real: none });
        sums = made;
        return { add: made.add.bind(made), finish: async () => [] };
      };
      await pairwisePass([factory], fake, real, metricContext());
      if (sums === undefined) throw new Error('no pass');
      const { full, subsets: values } = kernelDistance(sums, subsets);
      const slack = GOLDEN_OF_KERNEL * (await meanKernel(name));
      const within = (found: number, want: number) =>
        expect(Math.abs(found - want)).toBeLessThanOrEqual(GOLDEN_RELATIVE * Math.abs(want) + slack);
      within(full, expected.kid.full_unbiased_float64);
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      within(mean, expected.kid.subsets_float64.mean);
      within(
        Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length),
        expected.kid.subsets_float64.std,
      );
    },
  );

  test('estimates the same quantity with and without subsets, at every n', async () => {
    const at = async (n: number) =>
      kernelInceptionDistance.compute(
        normalRows(1, n, 8, 0.5),
        normalRows(2, n, 8),
        metricContext({ kidSubsetSize: 50, permutations: 0 }),
      );
    const small = await at(120);
    const large = await at(700);
    const wide = namedValue(small, 'kid-full');
    const narrow = namedValue(large, 'kid-full');
    expect(narrow.value).toBeGreaterThan(wide.low ?? Number.NaN);
    expect(narrow.value).toBeLessThan(wide.high ?? Number.NaN);
    expect((wide.high ?? 0) - (wide.low ?? 0)).toBeGreaterThan(1.5 * ((narrow.high ?? 0) - (narrow.low ?? 0)));
    const subsets = namedValue(large, 'kid');
    expect(narrow.value).toBeGreaterThan(subsets.low ?? Number.NaN);
    expect(narrow.value).toBeLessThan(subsets.high ?? Number.NaN);
    expect(subsets.interval).toBe('subsets');
  });

  test('of equal distributions is 0 on average, and negative about as often as positive', async () => {
    const values: number[] = [];
    for (let k = 0; k < 60; k += 1) {
      const [, full] = await kernelInceptionDistance.compute(
        normalRows(100 + k, 40, 6),
        normalRows(300 + k, 40, 6),
        metricContext({ kidSubsets: 1, permutations: 0 }),
      );
      values.push(full?.value ?? Number.NaN);
    }
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (values.length - 1));
    expect(Math.abs(mean)).toBeLessThan((SIGMAS * deviation) / Math.sqrt(values.length));
    expect(values.filter((value) => value < 0).length).toBeGreaterThan(values.length / 4);
    expect(values.filter((value) => value > 0).length).toBeGreaterThan(values.length / 8);
  });

  test('is of the same jackknife interval as leaving out each row one after the other', async () => {
    const fake = normalRows(4, 12, 3, 0.3);
    const real = normalRows(5, 9, 3);
    const context = metricContext({ kidSubsets: 1, permutations: 0 });
    const full = async (a = fake, b = real) =>
      namedValue(await kernelInceptionDistance.compute(a, b, context), 'kid-full');
    const without = (n: number, row: number) => Uint32Array.from({ length: n - 1 }, (_, i) => (i < row ? i : i + 1));
    const variance = async (n: number, value: (row: number) => Promise<number>) => {
      const values = await Promise.all(Array.from({ length: n }, (_, row) => value(row)));
      const mean = values.reduce((a, b) => a + b, 0) / n;
      return (values.reduce((a, b) => a + (b - mean) ** 2, 0) * (n - 1)) / n;
    };
    const error = Math.sqrt(
      (await variance(12, async (row) => (await full(reorderedRows(fake, without(12, row)))).value)) +
        (await variance(9, async (row) => (await full(fake, reorderedRows(real, without(9, row)))).value)),
    );
    const { value, high } = await full();
    // 2.306: the 97.5 % quantile of Student's t with 8 degrees of freedom
    expect(((high ?? 0) - value) / error).toBeCloseTo(2.306, 3);
  });

  test('has no interval of subsets that hold everything', async () => {
    const values = await kernelInceptionDistance.compute(
      normalRows(1, 30, 4),
      normalRows(2, 30, 4, 1),
      metricContext(),
    );
    const kid = namedValue(values, 'kid');
    expect(kid.interval).toBeNull();
    expect(kid.notes?.join()).toMatch(/see kid-full/);
    expect(kid.value).toBeCloseTo(namedValue(values, 'kid-full').value, 12);
    expect(kid.pValue).toBeCloseTo(1 / 201, 12);
  });

  test('does not depend on the size of tiles but for rounding', async () => {
    const context = metricContext({ kidSubsets: 3, kidSubsetSize: 40, permutations: 50 });
    const at = async (step?: number) => {
      const factories = [kernelInceptionDistance.consumer];
      return (await pairwisePass(factories, normalRows(1, 100, 4), normalRows(2, 90, 4, 0.2), context, step))[0] ?? [];
    };
    const whole = await at();
    for (const step of [1, 7, 90]) {
      for (const [index, { value, pValue }] of (await at(step)).entries()) {
        expect(Math.abs(value - (whole[index]?.value ?? Number.NaN))).toBeLessThan(1e-13);
        expect(pValue).toBe(whole[index]?.pValue);
      }
    }
  });

  test('does not depend on the order of the rows but for rounding', async () => {
    const fake = normalRows(1, 60, 5, 0.2);
    const real = normalRows(2, 50, 5);
    const context = metricContext({ kidSubsets: 2, permutations: 0 });
    const value = async (rows: typeof fake) =>
      namedValue(await kernelInceptionDistance.compute(rows, real, context), 'kid-full').value;
    expect(Math.abs((await value(fake)) - (await value(reorderedRows(fake, permutation(3, 0, 60)))))).toBeLessThan(
      1e-13,
    );
  });
});
