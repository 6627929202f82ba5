import type { ExtractorSpec } from './extractor-spec.js';
import type { ResizeKernel } from './resize-kernels.js';

/**
 * How pictures get the size of an extractor, as protocols say it:
 *   extractor  as its extractor.json says
 *   clean      clean-fid's (Parmar, Zhang & Zhu 2022; 0.1.35): Pillow mode F bicubic, not rounded, cut to 0…255
 *   legacy     pytorch-fid's: torch's bilinear, not antialiased, pixel centres
 * An extractor may say other ranges for the last two: clean-fid's Inception takes (level − 128) / 128, pytorch-fid's 2·level/255 − 1.
 */
export type ResizeMode = 'extractor' | 'clean' | 'legacy';

export const MODE_KERNELS: Readonly<Record<ResizeMode, ResizeKernel | null>> = {
  extractor: null,
  clean: 'pil-bicubic-float',
  legacy: 'torch-bilinear',
};

/** What becomes of a picture: its kernel, and the interval that levels 0…255 of each channel are mapped to. */
export interface InputTransform {
  readonly kernel: ResizeKernel;
  readonly ranges: readonly (readonly [low: number, high: number])[];
  /** Levels beyond 0…255, which bicubic kernels make beside edges, are cut off. */
  readonly clamp: boolean;
  /** Whether the shorter side gets the size, and the middle is cut out. */
  readonly crop?: 'center';
}

/** RGB. */
const CHANNELS = 3;

/** The transform of an extractor under a mode. */
export function inputTransform({ input }: ExtractorSpec, mode: ResizeMode): InputTransform {
  const override = mode === 'extractor' ? undefined : input.modes?.[mode];
  return {
    kernel: override?.resize ?? MODE_KERNELS[mode] ?? input.resize,
    ranges: channelRanges(override?.range ?? input.range, input),
    clamp: mode === 'clean',
    ...(mode === 'extractor' && input.crop !== undefined ? { crop: input.crop } : {}),
  };
}

function channelRanges(
  range: NonNullable<ExtractorSpec['input']['range']> | undefined,
  { mean, std }: ExtractorSpec['input'],
): InputTransform['ranges'] {
  if (range !== undefined) {
    const [first, second] = range;
    if (typeof first === 'number' && typeof second === 'number') {
      return Array.from({ length: CHANNELS }, () => [first, second] as const);
    }
    return range as readonly (readonly [number, number])[];
  }
  return Array.from({ length: CHANNELS }, (_, c) => {
    const [middle, width] = [mean?.[c] ?? 0, std?.[c] ?? 1];
    return [-middle / width, (1 - middle) / width] as const;
  });
}
