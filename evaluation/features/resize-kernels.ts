import {
  area,
  FILTERS,
  linear,
  nearest,
  POSITIONS,
  pillowNearest,
  steepCubic,
  type TapRule,
  widened,
} from './resize-taps.js';

/** How pictures get another size. Rounding to levels is part of a kernel: a feature extractor sees the difference. */
export interface ResizeRule {
  /** `levels`: both passes round to 0…255 as Pillow does with uint8; `float`: nothing is rounded or clamped. */
  readonly values: 'levels' | 'float';
  readonly taps: TapRule;
}

/** Every kernel by name. */
export const RESIZE_KERNELS = {
  'pil-bicubic': { values: 'levels', taps: widened(FILTERS.bicubic) },
  'pil-bilinear': { values: 'levels', taps: widened(FILTERS.bilinear) },
  'pil-lanczos': { values: 'levels', taps: widened(FILTERS.lanczos) },
  'pil-box': { values: 'levels', taps: widened(FILTERS.box) },
  'pil-nearest': { values: 'levels', taps: pillowNearest },
  'pil-bicubic-float': { values: 'float', taps: widened(FILTERS.bicubic) },
  'pil-bilinear-float': { values: 'float', taps: widened(FILTERS.bilinear) },
  'pil-lanczos-float': { values: 'float', taps: widened(FILTERS.lanczos) },
  'pil-box-float': { values: 'float', taps: widened(FILTERS.box) },
  'torch-bilinear': { values: 'float', taps: linear(POSITIONS['pixel centres']) },
  'torch-bilinear-corners': { values: 'float', taps: linear(POSITIONS.corners) },
  'torch-bilinear-antialias': { values: 'float', taps: widened(FILTERS.bilinear) },
  'torch-bilinear-antialias-corners': { values: 'float', taps: widened(FILTERS.bilinear, true) },
  'torch-bicubic': { values: 'float', taps: steepCubic(POSITIONS['pixel centres']) },
  'torch-bicubic-corners': { values: 'float', taps: steepCubic(POSITIONS.corners) },
  'torch-bicubic-antialias': { values: 'float', taps: widened(FILTERS.bicubic) },
  'torch-bicubic-antialias-corners': { values: 'float', taps: widened(FILTERS.bicubic, true) },
  'torch-nearest': { values: 'float', taps: nearest(0) },
  'torch-nearest-exact': { values: 'float', taps: nearest(0.5) },
  'torch-area': { values: 'float', taps: area },
  'tf1-bilinear': { values: 'float', taps: linear(POSITIONS['upper left']) },
} as const satisfies Record<string, ResizeRule>;

export type ResizeKernel = keyof typeof RESIZE_KERNELS;

/** The kernels whose results are levels again. */
export type LevelKernel = {
  [K in ResizeKernel]: (typeof RESIZE_KERNELS)[K]['values'] extends 'levels' ? K : never;
}[ResizeKernel];

export const RESIZE_KERNEL_NAMES = Object.keys(RESIZE_KERNELS) as [ResizeKernel, ...ResizeKernel[]];

export function isLevelKernel(kernel: ResizeKernel): kernel is LevelKernel {
  return RESIZE_KERNELS[kernel].values === 'levels';
}

/**
 * Pillow 13 goes vertically first where the height shrinks more than the width, horizontally first otherwise (older Pillow:
 * always horizontally; differs there by one level of uint8 pictures).
 */
export function verticalFirst(
  source: { readonly height: number; readonly width: number },
  height: number,
  width: number,
): boolean {
  return height < source.height && height / source.height < width / source.width;
}
