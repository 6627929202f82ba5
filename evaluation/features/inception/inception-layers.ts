/**
 * The Inception network of the 2015-12-05 TensorFlow graph that FID was defined on (Szegedy et al., arXiv 1512.00567; Heusel et
 * al., arXiv 1706.08500), with the layer names of pytorch-fid's weights. It differs from torchvision's: 1008 classes, averages
 * that do not count the padding, and a maximum instead of an average in the last block.
 */

type Size = readonly [height: number, width: number];

/** Convolution without bias, batch normalization, rectifier. */
export interface ConvolutionLayer {
  readonly op: 'convolution';
  /** Below the block's name; '' when its value is the block's. */
  readonly name: string;
  readonly channels: number;
  readonly kernel: Size;
  readonly stride: number;
  readonly padding: Size;
}

/** 3×3. */
export interface PoolLayer {
  readonly op: 'average' | 'maximum';
  readonly name: string;
  readonly stride: number;
  readonly padding: number;
}

/** Every branch reads the same input; their channels are joined in this order. */
export interface BranchesLayer {
  readonly op: 'branches';
  readonly name: string;
  readonly branches: readonly (readonly InceptionLayer[])[];
}

export type InceptionLayer = ConvolutionLayer | PoolLayer | BranchesLayer;

export interface InceptionBlock {
  readonly name: string;
  readonly layers: readonly InceptionLayer[];
}

export const INCEPTION_SIZE = 299;
export const INCEPTION_CLASSES = 1008;
export const INCEPTION_FEATURES = 2048;
/** Of every batch normalization. */
export const INCEPTION_EPSILON = 0.001;

/** Stride 1, padded so that the size stays. */
function same(name: string, channels: number, kernel: number | Size): ConvolutionLayer {
  const [height, width] = typeof kernel === 'number' ? [kernel, kernel] : kernel;
  const padding: Size = [(height - 1) / 2, (width - 1) / 2];
  return { op: 'convolution', name, channels, kernel: [height, width], stride: 1, padding };
}

/** 3×3 without padding. */
function shrinking(name: string, channels: number, stride: 1 | 2): ConvolutionLayer {
  return { op: 'convolution', name, channels, kernel: [3, 3], stride, padding: [0, 0] };
}

const AVERAGE: PoolLayer = { op: 'average', name: 'pool', stride: 1, padding: 1 };
const MAXIMUM: PoolLayer = { op: 'maximum', name: 'pool', stride: 1, padding: 1 };
const HALVE: PoolLayer = { op: 'maximum', name: 'pool', stride: 2, padding: 0 };

/** Branches that are a whole block. */
const block = (...branches: readonly (readonly InceptionLayer[])[]): readonly InceptionLayer[] => [
  { op: 'branches', name: '', branches },
];

/** A 1×3 and a 3×1 convolution of the same input, joined. */
const crossed = (name: string, left: string, right: string): BranchesLayer => ({
  op: 'branches',
  name,
  branches: [[same(left, 384, [1, 3])], [same(right, 384, [3, 1])]],
});

/** 35×35. */
const blockA = (poolChannels: number): readonly InceptionLayer[] =>
  block(
    [same('branch1x1', 64, 1)],
    [same('branch5x5_1', 48, 1), same('branch5x5_2', 64, 5)],
    [same('branch3x3dbl_1', 64, 1), same('branch3x3dbl_2', 96, 3), same('branch3x3dbl_3', 96, 3)],
    [AVERAGE, same('branch_pool', poolChannels, 1)],
  );

/** 35×35 to 17×17. */
const BLOCK_B: readonly InceptionLayer[] = block(
  [shrinking('branch3x3', 384, 2)],
  [same('branch3x3dbl_1', 64, 1), same('branch3x3dbl_2', 96, 3), shrinking('branch3x3dbl_3', 96, 2)],
  [HALVE],
);

/** 17×17. */
const blockC = (inner: number): readonly InceptionLayer[] =>
  block(
    [same('branch1x1', 192, 1)],
    [same('branch7x7_1', inner, 1), same('branch7x7_2', inner, [1, 7]), same('branch7x7_3', 192, [7, 1])],
    [
      same('branch7x7dbl_1', inner, 1),
      same('branch7x7dbl_2', inner, [7, 1]),
      same('branch7x7dbl_3', inner, [1, 7]),
      same('branch7x7dbl_4', inner, [7, 1]),
      same('branch7x7dbl_5', 192, [1, 7]),
    ],
    [AVERAGE, same('branch_pool', 192, 1)],
  );

/** 17×17 to 8×8. */
const BLOCK_D: readonly InceptionLayer[] = block(
  [same('branch3x3_1', 192, 1), shrinking('branch3x3_2', 320, 2)],
  [
    same('branch7x7x3_1', 192, 1),
    same('branch7x7x3_2', 192, [1, 7]),
    same('branch7x7x3_3', 192, [7, 1]),
    shrinking('branch7x7x3_4', 192, 2),
  ],
  [HALVE],
);

/** 8×8. */
const blockE = (pool: PoolLayer): readonly InceptionLayer[] =>
  block(
    [same('branch1x1', 320, 1)],
    [same('branch3x3_1', 384, 1), crossed('branch3x3', 'branch3x3_2a', 'branch3x3_2b')],
    [
      same('branch3x3dbl_1', 448, 1),
      same('branch3x3dbl_2', 384, 3),
      crossed('branch3x3dbl', 'branch3x3dbl_3a', 'branch3x3dbl_3b'),
    ],
    [pool, same('branch_pool', 192, 1)],
  );

/** From the picture to the last 8×8 map. */
export const INCEPTION_BLOCKS: readonly InceptionBlock[] = [
  { name: 'Conv2d_1a_3x3', layers: [shrinking('', 32, 2)] },
  { name: 'Conv2d_2a_3x3', layers: [shrinking('', 32, 1)] },
  { name: 'Conv2d_2b_3x3', layers: [same('', 64, 3)] },
  { name: 'maxpool1', layers: [{ ...HALVE, name: '' }] },
  { name: 'Conv2d_3b_1x1', layers: [same('', 80, 1)] },
  { name: 'Conv2d_4a_3x3', layers: [shrinking('', 192, 1)] },
  { name: 'maxpool2', layers: [{ ...HALVE, name: '' }] },
  { name: 'Mixed_5b', layers: blockA(32) },
  { name: 'Mixed_5c', layers: blockA(64) },
  { name: 'Mixed_5d', layers: blockA(64) },
  { name: 'Mixed_6a', layers: BLOCK_B },
  { name: 'Mixed_6b', layers: blockC(128) },
  { name: 'Mixed_6c', layers: blockC(160) },
  { name: 'Mixed_6d', layers: blockC(160) },
  { name: 'Mixed_6e', layers: blockC(192) },
  { name: 'Mixed_7a', layers: BLOCK_D },
  { name: 'Mixed_7b', layers: blockE(AVERAGE) },
  { name: 'Mixed_7c', layers: blockE(MAXIMUM) },
];

/**
 * What spatial FID looks at: the first 7 channels of `mixed_6/conv` of the TensorFlow graph, which is this layer, flattened as
 * height, width, channel: 17·17·7 = 2023 numbers (OpenAI's guided-diffusion evaluator, whose statistics files hold these).
 */
export const SPATIAL_LAYER = 'Mixed_6d.branch1x1';
export const SPATIAL_CHANNELS = 7;
