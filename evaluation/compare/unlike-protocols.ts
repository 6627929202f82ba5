import type { Score } from '../../contracts/score.js';
import { isSameSeed } from '../report/score-groups.js';
import type { ComparedSide, EvaluationFacts } from './comparison.js';

interface Rule {
  readonly name: string;
  readonly fact: keyof EvaluationFacts;
  readonly matters: (score: Score) => boolean;
}

const ALWAYS = () => true;

/** What must be equal, for which scores. */
const RULES: readonly Rule[] = [
  { name: 'prompts', fact: 'prompts', matters: ALWAYS },
  { name: 'seed', fact: 'seed', matters: ALWAYS },
  { name: 'steps', fact: 'steps', matters: ALWAYS },
  { name: 'guidance', fact: 'guidance', matters: ALWAYS },
  { name: 'float model', fact: 'float', matters: ({ against }) => against === 'float' },
  { name: 'reference', fact: 'reference', matters: ({ against }) => against === 'reference' },
  {
    name: 'compared calls of the denoiser',
    fact: 'timestepPairs',
    matters: ({ metric }) => metric === 'denoiser-relative-mse',
  },
  { name: 'resize', fact: 'resize', matters: ({ extractor }) => extractor !== null },
  {
    name: 'settings of metrics',
    fact: 'settings',
    matters: (score) => score.extractor !== null && !isSameSeed(score),
  },
];

/** Why two scores of one metric may not be subtracted, a reason each; empty when they may. */
export function unlikeReasons(left: Score, right: Score, sides: readonly [ComparedSide, ComparedSide]): string[] {
  const reasons: string[] = [];
  const differ = (name: string, a: unknown, b: unknown) => {
    if (a !== b) reasons.push(`${name}: ${shown(a)} and ${shown(b)}`);
  };
  differ('n', left.n, right.n);
  const others = ({ n, referenceN }: Score) => (referenceN === n ? 'equal' : referenceN);
  differ('reference n', others(left), others(right));
  differ('extractor', left.extractor, right.extractor);
  const [a, b] = [sides[0].facts, sides[1].facts];
  let known = 0;
  for (const { name, fact } of RULES.filter((rule) => rule.matters(left))) {
    if (a[fact] === undefined || b[fact] === undefined) continue;
    known += 1;
    differ(name, a[fact], b[fact]);
  }
  if (known === 0 && left.protocol !== right.protocol) differ('protocol', left.protocol, right.protocol);
  return reasons;
}

/** What is known on one side only, and protocols that differ: said once for the comparison. */
export function protocolWarnings(left: ComparedSide, right: ComparedSide): string[] {
  const warnings: string[] = [];
  const digests = (side: ComparedSide) => [...new Set(side.scores.map(({ protocol }) => protocol))];
  const [a, b] = [digests(left), digests(right)];
  if (a.join() !== b.join()) {
    const named = (list: readonly (string | null)[]) => list.map((digest) => shown(digest)).join(', ');
    warnings.push(`the protocols differ (${named(a)} and ${named(b)}): scores that depend on how are not subtracted`);
  }
  const unknown = RULES.filter(({ fact }) => left.facts[fact] === undefined || right.facts[fact] === undefined);
  const missing = [...new Set(unknown.map(({ name }) => name))];
  if (missing.length > 0) warnings.push(`not known on both sides, and so not checked: ${missing.join(', ')}`);
  return warnings;
}

/** A value in a reason: digests in short, nothing as `none`. */
function shown(value: unknown): string {
  if (value === null || value === undefined) return 'none';
  const text = String(value);
  return /^[0-9a-f]{64}$/.test(text) ? text.slice(0, 12) : text;
}
