import type { OperatorRule } from './rule.js';
import { ACTIVATION_RULES } from './rules/activations.js';
import { ARITHMETIC_RULES } from './rules/arithmetic.js';
import { CONVOLUTION_RULES } from './rules/convolutions.js';
import { GATHER_RULES } from './rules/gather.js';
import { LAYOUT_RULES } from './rules/layout.js';
import { NORMALIZATION_RULES } from './rules/normalizations.js';
import { PRODUCT_RULES } from './rules/products.js';
import { REDUCTION_RULES } from './rules/reductions.js';

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
    ...GATHER_RULES,
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
  'Greater',
  'GreaterOrEqual',
  'IsInf',
  'IsNaN',
  'Less',
  'LessOrEqual',
  'NonZero',
  'Not',
  'Or',
  'Shape',
  'Sign',
  'Size',
  'Xor',
]);
