import { parseArgs } from 'node:util';
import { NibbleflowError } from '../../contracts/errors.js';

export interface StepArguments {
  readonly batch: number;
  readonly threads: number;
  readonly rounds: number;
  /** The Python whose torch is compared. */
  readonly python: string;
  /** Only these sections; empty is all. */
  readonly only: readonly string[];
  /** Where the report goes as well as to the screen; undefined is nowhere. */
  readonly out: string | undefined;
}

const USAGE = 'npm run bench:autodiff [-- SECTION … --batch N --threads N --rounds N --python FILE --out FILE]';

/** Reads the command line. Throws InvalidInput. */
export function stepArguments(argv: readonly string[], sections: readonly string[]): StepArguments {
  const { values, positionals } = parsed(argv);
  const unknown = positionals.filter((name) => !sections.includes(name));
  if (unknown.length > 0) {
    throw new NibbleflowError('InvalidInput', `There is no section ${unknown.join(', ')}`, {
      fix: `Sections: ${sections.join(', ')}.`,
    });
  }
  return {
    batch: count('--batch', values.batch ?? '8'),
    threads: count('--threads', values.threads ?? '1'),
    rounds: count('--rounds', values.rounds ?? '15'),
    python: values.python ?? 'python3',
    only: positionals,
    out: values.out,
  };
}

function parsed(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    const options = { batch: text, threads: text, rounds: text, python: text, out: text };
    return parseArgs({ args: [...argv], allowPositionals: true, options });
  } catch (error) {
    throw new NibbleflowError('InvalidInput', error instanceof Error ? error.message : String(error), { fix: USAGE });
  }
}

function count(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new NibbleflowError('InvalidInput', 'a positive whole number is needed', { where: `${option} ${text}` });
}
