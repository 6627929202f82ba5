import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { NibbleflowError } from '../../contracts/errors.js';
import { claimSchema } from './quality-claims.js';
import { tableRowSchema } from './quality-table.js';

/** What the bench keeps of a recipe: what the table needs is checked, everything else is for whoever looks closer. */
export const recipeResultSchema = z.looseObject({
  schemaVersion: z.literal(2),
  recipe: z.string(),
  date: z.string(),
  machine: z.string(),
  protocol: z.string(),
  samples: z.number(),
  triples: z.number(),
  floatPictures: z.object({ largest: z.number(), differing: z.number(), values: z.number() }),
  floatToReference: z.number(),
  noiseFloor: tableRowSchema,
  /** Plain rounding, before finetuning, shipped: those that were measured. */
  rows: z.array(tableRowSchema),
  claims: z.array(claimSchema),
  /** A line for each stage. */
  notes: z.array(z.string()),
});
export type RecipeResult = z.infer<typeof recipeResultSchema>;

/** Writes `<folder>/<recipe>.json`, in place of an earlier one. */
export function writeResult(folder: string, result: RecipeResult): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${result.recipe}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

/** Results of one number of pictures, by recipe name. Throws InvalidInput for a file that is none. */
export function readResults(folder: string, samples: number): RecipeResult[] {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
  return files
    .sort()
    .map((file) => {
      const parsed = recipeResultSchema.safeParse(JSON.parse(readFileSync(join(folder, file), 'utf8')));
      if (parsed.success) return parsed.data;
      throw new NibbleflowError('InvalidInput', `not a result of the quality bench: ${parsed.error.message}`, {
        where: file,
        fix: 'Remove it, or measure the recipe again.',
      });
    })
    .filter((result) => result.samples === samples);
}
