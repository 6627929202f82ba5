import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { NibbleflowError } from '../../contracts/errors.js';

export interface MetricsArguments {
  /** Pictures a side in the comparison. */
  readonly samples: number;
  readonly threads: number;
  readonly rounds: number;
  /** The Python whose torch-fidelity is compared; undefined: none. */
  readonly python: string | undefined;
  /** Whether 50,000 pictures a side are scored, too, read from files. */
  readonly scale: boolean;
  /** Where the report goes as well as to the screen; undefined is nowhere. */
  readonly out: string | undefined;
}

const USAGE = 'npm run bench:metrics [-- --samples N --threads N --rounds N --python FILE --scale --out FILE]';

/** Reads the command line. Throws InvalidInput. */
export function metricsArguments(argv: readonly string[]): MetricsArguments {
  const values = parsed(argv);
  return {
    samples: count('--samples', values.samples ?? '10000'),
    threads: count('--threads', values.threads ?? String(availableParallelism())),
    rounds: count('--rounds', values.rounds ?? '3'),
    python: values.python,
    scale: values.scale ?? false,
    out: values.out,
  };
}

function parsed(argv: readonly string[]) {
  const text = { type: 'string' } as const;
  const options = {
    samples: text,
    threads: text,
    rounds: text,
    python: text,
    out: text,
    scale: { type: 'boolean' },
  } as const;
  try {
    return parseArgs({ args: [...argv], options }).values;
  } catch (error) {
    throw new NibbleflowError('InvalidInput', error instanceof Error ? error.message : String(error), { fix: USAGE });
  }
}

function count(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 1) return value;
  if (value === 1 && option !== '--samples') return value;
  throw new NibbleflowError('InvalidInput', 'a positive whole number is needed', { where: `${option} ${text}` });
}
