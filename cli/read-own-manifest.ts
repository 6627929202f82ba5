import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { MANIFEST_FILE } from '../activities/output-folder.js';
import { recipeSchema } from '../contracts/recipe.js';

const manifestSchema = z.looseObject({
  generator: z.literal('nibbleflow'),
  input: z.looseObject({ pipeline: z.string(), digest: z.string() }).optional(),
  recipe: recipeSchema.optional().catch(undefined),
});

export type OwnManifest = z.output<typeof manifestSchema>;

/** What the manifest.json of an output folder says; null for folders that nibbleflow did not write. */
export async function readOwnManifest(folder: string): Promise<OwnManifest | null> {
  const text = await readFile(join(folder, MANIFEST_FILE), 'utf8').catch(() => undefined);
  if (text === undefined) return null;
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
