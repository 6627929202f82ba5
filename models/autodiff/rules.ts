import type { OperatorRule } from './rule.js';
import { ACTIVATION_RULES } from './rules/activations.js';
import { ARITHMETIC_RULES } from './rules/arithmetic.js';
import { ATTENTION_RULES } from './rules/attention.js';
import { CONVOLUTION_RULES } from './rules/convolutions.js';
import { EINSUM_RULES } from './rules/einsum.js';
import { GATHER_RULES } from './rules/gather.js';
import { LAYOUT_RULES } from './rules/layout.js';
import { NORMALIZATION_RULES } from './rules/normalizations.js';
import { POOL_RULES } from './rules/pools.js';
import { PRODUCT_RULES } from './rules/products.js';
import { REDUCTION_RULES } from './rules/reductions.js';
import { SCATTER_RULES } from './rules/scatter.js';

/** Vector-Jacobian rules by operator of the standard domain. */
export const RULES: ReadonlyMap<string, OperatorRule> = new Map(
  Object.entries({
    ...ARITHMETIC_RULES,
    ...ACTIVATION_RULES,
    ...PRODUCT_RULES,
    ...REDUCTION_RULES,
    ...NORMALIZATION_RULES,
    ...CONVOLUTION_RULES,
    ...LAYOUT_RULES,
    ...EINSUM_RULES,
    ...ATTENTION_RULES,
    ...POOL_RULES,
    ...GATHER_RULES,
    ...SCATTER_RULES,
  }),
);

/** Operators whose output does not change with small changes of their inputs, or is no real number: gradients stop here. */
export const FLAT_OPERATORS: ReadonlySet<string> = new Set([
  'And',
  'ArgMax',
  'ArgMin',
  'Ceil',
  'ConstantOfShape',
  'Equal',
  'Floor',
  'EyeLike',
  'Greater',
  'GreaterOrEqual',
  'Hardmax',
  'IsInf',
  'IsNaN',
  'Less',
  'LessOrEqual',
  'NonZero',
  'Not',
  'Or',
  'RandomNormalLike',
  'RandomUniformLike',
  'Shape',
  'Sign',
  'Size',
  'Xor',
]);
