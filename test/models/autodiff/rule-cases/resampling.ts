import { type Attribute, attribute } from '../../../../models/onnx/graph.js';
import { float32, int64 } from '../../../../models/tensors/tensor.js';
import type { RuleCase } from './rule-case.js';

const { float, int, ints, string } = attribute;

const resize = (factors: number[], x: number[]): RuleCase => ({
  title: `Resize by ${factors.join(' × ')}`,
  opType: 'Resize',
  inputs: [x, null, float32([factors.length], factors)],
  attributes: {
    mode: string('nearest'),
    coordinate_transformation_mode: string('asymmetric'),
    nearest_mode: string('floor'),
  },
});
const resample = (
  mode: string,
  coordinates: string,
  factors: readonly number[],
  x: readonly number[],
  more: Record<string, Attribute> = {},
): RuleCase => ({
  title: `Resize ${mode} ${coordinates} by ${factors.join(' × ')} ${Object.keys(more).join()}`,
  opType: 'Resize',
  inputs: [x, null, float32([factors.length], factors)],
  attributes: { mode: string(mode), coordinate_transformation_mode: string(coordinates), ...more },
});

export const RESAMPLING_CASES: readonly RuleCase[] = [
  resize([1, 1, 2, 2], [2, 2, 3, 2]),
  resize([1, 1, 3], [1, 2, 3]),
  resize([2, 1, 1, 3], [1, 2, 2, 2]),
  ...(
    [
      ['nearest', 'half_pixel', [1, 1, 1.5, 0.75]],
      ['nearest', 'asymmetric', [1, 1, 0.5, 2.5]],
      ['nearest', 'align_corners', [1, 1, 1.75, 2]],
      ['linear', 'half_pixel', [1, 1, 2, 2]],
      ['linear', 'pytorch_half_pixel', [1, 1, 2.5, 0.5]],
      ['linear', 'align_corners', [1, 1, 2, 1.75]],
      ['linear', 'asymmetric', [1, 1, 1.5, 1]],
      ['cubic', 'half_pixel', [1, 1, 2, 1.5]],
      ['cubic', 'align_corners', [1, 1, 1.5, 2]],
    ] as const
  ).map(([mode, coordinates, factors]) => resample(mode, coordinates, factors, [2, 2, 4, 4])),
  resample('linear', 'half_pixel', [1, 1, 2.5], [1, 2, 4]),
  resample('linear', 'half_pixel', [1, 1, 2, 1.5, 2], [1, 1, 3, 2, 3]),
  ...['round_prefer_ceil', 'ceil', 'floor'].map((rounding) =>
    resample('nearest', 'half_pixel', [1, 1, 1.5, 0.75], [1, 2, 4, 4], { nearest_mode: string(rounding) }),
  ),
  resample('cubic', 'half_pixel', [1, 1, 2, 1.5], [1, 1, 4, 4], {
    exclude_outside: int(1),
    cubic_coeff_a: float(-0.5),
  }),
  {
    ...resample('linear', 'half_pixel_symmetric', [1, 1, 1.3, 1.7], [1, 2, 4, 4]),
    opset: 19,
  },
  {
    title: 'Resize linear to given sizes',
    opType: 'Resize',
    inputs: [[1, 2, 3, 4], null, null, int64([4], [1, 2, 5, 7])],
    attributes: { mode: string('linear') },
  },
  {
    title: 'Resize of chosen axes',
    opType: 'Resize',
    opset: 18,
    inputs: [[1, 2, 3, 4], null, float32([2], [1.5, 2])],
    attributes: { mode: string('linear'), axes: ints([-1, 2]) },
  },
];
