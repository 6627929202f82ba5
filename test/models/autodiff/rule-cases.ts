import { ACTIVATION_CASES } from './rule-cases/activations.js';
import { ARITHMETIC_CASES } from './rule-cases/arithmetic.js';
import { CONVOLUTION_CASES } from './rule-cases/convolutions.js';
import { INDEXING_CASES } from './rule-cases/indexing.js';
import { LAYOUT_CASES } from './rule-cases/layout.js';
import { NORMALIZATION_CASES } from './rule-cases/normalizations.js';
import { POOL_CASES } from './rule-cases/pools.js';
import { PRODUCT_CASES } from './rule-cases/products.js';
import { REDUCTION_CASES } from './rule-cases/reductions.js';
import { RESAMPLING_CASES } from './rule-cases/resampling.js';
import type { RuleCase } from './rule-cases/rule-case.js';

/** At least one case for each row of the rule table. */
export const RULE_CASES: readonly RuleCase[] = [
  ...ARITHMETIC_CASES,
  ...ACTIVATION_CASES,
  ...PRODUCT_CASES,
  ...REDUCTION_CASES,
  ...NORMALIZATION_CASES,
  ...CONVOLUTION_CASES,
  ...POOL_CASES,
  ...LAYOUT_CASES,
  ...RESAMPLING_CASES,
  ...INDEXING_CASES,
];
