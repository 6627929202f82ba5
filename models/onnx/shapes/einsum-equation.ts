import { ShapeRuleError } from './shape-rule.js';

/** An Einsum equation without blanks and `...`, with its output written out. */
export interface EinsumEquation {
  /** One letter for each axis of each operand. */
  readonly terms: readonly string[];
  readonly output: string;
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/**
 * Reads an equation as numpy does: `...` stands for as many axes as an operand has more than letters, aligned at the right;
 * an output that is left out has the axes of `...` and then the letters that occur once, in alphabetical order.
 * @param ranks of the operands
 * @throws ShapeRuleError when the equation does not fit them.
 */
export function explicitEquation(equation: string, ranks: readonly number[]): EinsumEquation {
  const [left = '', right] = equation.replaceAll(' ', '').split('->');
  const terms = left.split(',');
  const fail = (): never => {
    throw new ShapeRuleError(`equation ${equation} does not fit its inputs`);
  };
  if (terms.length !== ranks.length) fail();
  const open = terms.map((term, index) => {
    const extra = (ranks[index] ?? 0) - term.replace('...', '').length;
    return extra < 0 || (extra > 0 && !term.includes('...')) ? fail() : extra;
  });
  const free = [...LETTERS].filter((letter) => !equation.includes(letter));
  const widest = Math.max(0, ...open);
  if (free.length < widest) fail();
  const dots = free.slice(0, widest).join('');
  const written = terms.map((term, index) => term.replace('...', dots.slice(widest - (open[index] ?? 0))));
  if (right !== undefined) return { terms: written, output: right.replace('...', dots) };
  const letters = [...terms.join('').replaceAll('.', '')];
  const once = letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).sort();
  return { terms: written, output: dots + once.join('') };
}
