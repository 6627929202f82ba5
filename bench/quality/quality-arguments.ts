import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { NibbleflowError } from '../../contracts/errors.js';

export interface QualityArguments {
  /** Built-in names or files. */
  readonly recipes: readonly string[];
  /** `path=value` settings of every recipe. */
  readonly settings: readonly string[];
  /** Pictures; undefined is all of the protocol. */
  readonly samples: number | undefined;
  /** Stop at the rounded weights. */
  readonly beforeOnly: boolean;
  /** Fewer pictures: for a look while tuning, not for the record. */
  readonly quick: boolean;
  readonly threads: number;
  /** Which rows are measured beside the shipped one. */
  readonly plain: boolean;
  readonly before: boolean;
  /** Measure nothing, make the table from the results that are there. */
  readonly tableOnly: boolean;
}

const DEFAULT_RECIPES = ['w4a4'];
/** A quarter of the protocol. */
const QUICK_SAMPLES = 64;

/** Reads the command line. Throws InvalidInput. */
export function qualityArguments(argv: readonly string[]): QualityArguments {
  const { values, positionals } = parsed(argv);
  const quick = values.quick ?? false;
  const settings = values.set ?? [];
  if (settings.length > 0 && !settings.some((setting) => setting.startsWith('name='))) {
    throw new NibbleflowError('InvalidInput', 'a recipe with other settings is another recipe: give it a name', {
      where: settings.map((setting) => `--set ${setting}`).join(' '),
      fix: 'For example: --set activations.bits=6 --set name=quest-a6',
    });
  }
  return {
    recipes: positionals.length === 0 ? DEFAULT_RECIPES : positionals,
    settings,
    samples: values.samples === undefined ? (quick ? QUICK_SAMPLES : undefined) : count('--samples', values.samples),
    beforeOnly: values['before-only'] ?? false,
    quick,
    plain: !(values['no-plain'] ?? false),
    before: !(values['no-before'] ?? false),
    tableOnly: values.table ?? false,
    threads: values.threads === undefined ? availableParallelism() : count('--threads', values.threads),
  };
}

function parsed(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        samples: { type: 'string' },
        threads: { type: 'string' },
        'before-only': { type: 'boolean' },
        quick: { type: 'boolean' },
        'no-plain': { type: 'boolean' },
        'no-before': { type: 'boolean' },
        table: { type: 'boolean' },
        set: { type: 'string', multiple: true },
      },
    });
  } catch (error) {
    throw new NibbleflowError('InvalidInput', error instanceof Error ? error.message : String(error), {
      fix: 'npm run bench:quality [-- recipe … --samples N --threads N --set path=value --before-only --quick --no-plain --no-before --table]',
    });
  }
}

function count(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new NibbleflowError('InvalidInput', 'a positive whole number is needed', { where: `${option} ${text}` });
}
