import { ELEMENTWISE_RULES } from './elementwise-rules.js';
import { INDEXING_RULES } from './indexing-rules.js';
import { LAYOUT_RULES } from './layout-rules.js';
import { LINEAR_RULES } from './linear-rules.js';
import { REDUCTION_RULES } from './reduction-rules.js';
import type { ShapeRule } from './shape-rule.js';

/** Operators of the standard domain and how the types and dims of their outputs follow from their inputs. */
export const SHAPE_RULES: ReadonlyMap<string, ShapeRule> = new Map([
  ...ELEMENTWISE_RULES,
  ...LINEAR_RULES,
  ...REDUCTION_RULES,
  ...LAYOUT_RULES,
  ...INDEXING_RULES,
]);
