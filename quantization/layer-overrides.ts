import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';

/** What the overrides of a recipe say about one layer. */
export interface LayerOverride {
  readonly skip: boolean;
  readonly weightBits: number | undefined;
  readonly activationBits: number | undefined;
}

type Override = Recipe['overrides'][number];

/**
 * Resolves a recipe's overrides for all layer names at once. Later overrides win; `skip` cannot be taken back.
 * Throws InvalidRecipe for a pattern that is no regular expression or matches no layer, and for an override that says nothing
 * or contradicts itself.
 */
export function layerOverrides(
  overrides: Recipe['overrides'],
  names: readonly string[],
): (name: string) => LayerOverride {
  const patterns = overrides.map((override, index) => {
    checkOverride(override, index);
    const pattern = compiled(override, index);
    if (!names.some((name) => pattern.test(name))) {
      throw invalid(
        index,
        `no layer matches /${override.layers}/`,
        `Layer names look like ${names.slice(0, 2).join(', ')}; nibbleflow plan lists them.`,
      );
    }
    return { override, pattern };
  });
  return (name) => {
    const matching = patterns.filter(({ pattern }) => pattern.test(name)).map(({ override }) => override);
    return {
      skip: matching.some((override) => override.skip),
      weightBits: matching.findLast((override) => override.weightBits !== undefined)?.weightBits,
      activationBits: matching.findLast((override) => override.activationBits !== undefined)?.activationBits,
    };
  };
}

function checkOverride(override: Override, index: number): void {
  const hasBits = override.weightBits !== undefined || override.activationBits !== undefined;
  if (override.skip && hasBits) {
    throw invalid(index, 'a layer cannot be skipped and have bits', 'Remove skip, or the bits.');
  }
  if (!override.skip && !hasBits) throw invalid(index, 'it changes nothing', 'Set skip, weightBits or activationBits.');
}

function compiled(override: Override, index: number): RegExp {
  try {
    return new RegExp(override.layers);
  } catch (cause) {
    throw invalid(
      index,
      `/${override.layers}/ is no regular expression`,
      'Escape characters like ( [ * + with \\.',
      cause,
    );
  }
}

function invalid(index: number, what: string, fix: string, cause?: unknown): NibbleflowError {
  return new NibbleflowError('InvalidRecipe', `override ${index + 1}: ${what}`, {
    where: `overrides[${index}]`,
    fix,
    cause,
  });
}
