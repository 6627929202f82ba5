import { attribute, stringAttribute } from '../../onnx/graph.js';
import { explicitEquation } from '../../onnx/shapes/einsum-equation.js';
import type { Value } from '../expressions.js';
import { plain, unbroadcast } from '../gradient.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';

/**
 * y[out] = Σ ∏_k x_k[term_k]: the gradient of x_k is the sum of g and all other operands over the letters that x_k does not
 * have, dx_k[term_k] = Σ g[out] · ∏_{j≠k} x_j[term_j]. Letters that only x_k has were summed alone: there the gradient is the
 * same for all. Axes of size 1 that were broadcast are summed.
 */
function einsum(c: RuleContext): Contributions {
  const operands = c.node.inputs.map((_, index) => c.input(index));
  const ranks = operands.map((operand) => operand.dims.length);
  const { terms, output } = explicitEquation(stringAttribute(c.node, 'equation', ''), ranks);
  return terms.map((term, index) =>
    c.wants(index) ? operandGradient(c, { terms, output, operands }, term, index) : undefined,
  );
}

interface Equation {
  readonly terms: readonly string[];
  readonly output: string;
  readonly operands: readonly Value[];
}

function operandGradient(c: RuleContext, equation: Equation, term: string, index: number) {
  const { e } = c;
  const dims = equation.operands[index]?.dims ?? [];
  const others = equation.terms.flatMap((each, at) =>
    at === index ? [] : [{ term: each, value: equation.operands[at] }],
  );
  const sources = [{ term: equation.output, value: c.gradient() }, ...others];
  const found = letterSizes(sources);
  const made = [...term].filter((letter) => found.has(letter));
  const product = e.emit(
    'Einsum',
    sources.map(({ value }) => value),
    made.map((letter) => found.get(letter) ?? 1),
    { attributes: { equation: attribute.string(`${sources.map((source) => source.term).join()}->${made.join('')}`) } },
  );
  const spaced = e.reshape(
    product,
    [...term].map((letter) => found.get(letter) ?? 1),
  );
  const whole = [...term].map((letter, axis) => Math.max(found.get(letter) ?? 1, dims[axis] ?? 1));
  return unbroadcast(e, plain(e.expand(spaced, whole)), dims, whole);
}

/** The size of each letter; an axis of size 1 broadcasts. */
function letterSizes(sources: readonly { readonly term: string; readonly value: Value | undefined }[]) {
  const sizes = new Map<string, number>();
  for (const { term, value } of sources) {
    [...term].forEach((letter, axis) => {
      sizes.set(letter, Math.max(sizes.get(letter) ?? 1, value?.dims[axis] ?? 1));
    });
  }
  return sizes;
}

export const EINSUM_RULES: Readonly<Record<string, OperatorRule>> = {
  Einsum: {
    inputs: 'all',
    vjp: einsum,
    refuses: (node) => {
      const terms = stringAttribute(node, 'equation', '').replaceAll(' ', '').split('->')[0]?.split(',') ?? [];
      const repeats = terms.some((term) => {
        const letters = [...term.replace('...', '')];
        return new Set(letters).size < letters.length;
      });
      return repeats ? 'a letter twice in one term' : undefined;
    },
  },
};
