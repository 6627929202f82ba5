import { NibbleflowError } from '../contracts/errors.js';
import { MOST_CELLS } from '../contracts/sweep.js';

/** One run of a sweep, as asked for. */
export interface CellRequest {
  /** The recipe and the settings that differ between cells: `w4a4 weights.bits=8`. */
  readonly name: string;
  readonly recipe: string;
  readonly settings: readonly string[];
}

/**
 * Every recipe with every combination of values: `recipes` is `a,b,c`, a setting `path=1,2`. Commas inside brackets and quotes
 * belong to one value. Throws InvalidInput for empty or repeated values and more than MOST_CELLS cells.
 */
export function sweepCells(recipes: string, settings: readonly string[]): CellRequest[] {
  const names = listed(recipes, '--recipe');
  const axes = settings.map((setting) => {
    const at = setting.indexOf('=');
    if (at <= 0) {
      throw new NibbleflowError('InvalidInput', 'a setting looks like path=value, or path=value,value', {
        where: `--set ${setting}`,
        fix: 'For example: --set weights.bits=4,8',
      });
    }
    const path = setting.slice(0, at);
    return listed(setting.slice(at + 1), `--set ${setting}`).map((value) => `${path}=${value}`);
  });
  let cells: CellRequest[] = names.map((recipe) => ({ name: shortName(recipe), recipe, settings: [] }));
  for (const axis of axes) {
    cells = cells.flatMap((cell) =>
      axis.map((setting) => ({
        ...cell,
        name: axis.length > 1 ? `${cell.name} ${setting}` : cell.name,
        settings: [...cell.settings, setting],
      })),
    );
  }
  if (cells.length > MOST_CELLS) {
    throw new NibbleflowError('InvalidInput', `the sweep has ${cells.length} runs; at most ${MOST_CELLS} are allowed`, {
      where: '--recipe, --set',
      fix: 'Sweep fewer values at once.',
    });
  }
  return cells;
}

/** A built-in name as it is; of a file, its name without folders and extension. */
function shortName(recipe: string): string {
  return recipe.replace(/^.*[\\/]/, '').replace(/\.(ya?ml|json)$/, '');
}

function listed(text: string, where: string): string[] {
  const values = splitAtCommas(text).map((value) => value.trim());
  if (values.some((value) => value === '')) {
    throw new NibbleflowError('InvalidInput', 'a value of the sweep is empty', { where });
  }
  const repeated = values.find((value, index) => values.indexOf(value) !== index);
  if (repeated !== undefined) {
    throw new NibbleflowError('InvalidInput', `the value ${repeated} is there twice`, { where });
  }
  return values;
}

function splitAtCommas(text: string): string[] {
  const parts = [''];
  let depth = 0;
  let quote = '';
  for (const character of text) {
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === '"' || character === "'") quote = character;
    else if ('[{'.includes(character)) depth += 1;
    else if (']}'.includes(character)) depth -= 1;
    if (character === ',' && depth === 0 && quote === '') parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts;
}
