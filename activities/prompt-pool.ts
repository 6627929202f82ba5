import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { NibbleflowError } from '../contracts/errors.js';
import type { PipelineFiles } from '../models/pipelines/pipeline-files.js';
import { packageFile } from './package-file.js';

const captionsSchema = z.array(z.object({ prompt: z.string(), skinTone: z.boolean() }));
const promptsSchema = z.array(z.string());

/** The captions of the bundled emoji; skin-tone variants are left out. */
export const BUNDLED_CAPTIONS = 'models/zoo/emoji-reference/prompts.json';

/**
 * What prompts are drawn from when the recipe names no file: prompts.txt (a prompt a line) or prompts.json (an array of
 * strings) of the pipeline folder, else the bundled captions.
 * @throws NibbleflowError InvalidRecipe when the folder's prompts.json is something else
 */
export function promptPool(files: PipelineFiles): string[] {
  const text = (path: string): string => new TextDecoder().decode(files.read(path));
  if (files.paths().includes('prompts.txt')) return text('prompts.txt').split(/\r?\n/);
  if (files.paths().includes('prompts.json')) return folderPrompts(text('prompts.json'), `${files.name}/prompts.json`);
  const captions = captionsSchema.parse(JSON.parse(readFileSync(packageFile(BUNDLED_CAPTIONS), 'utf8')));
  return captions.filter(({ skinTone }) => !skinTone).map(({ prompt }) => prompt);
}

function folderPrompts(text: string, where: string): string[] {
  try {
    return promptsSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new NibbleflowError('InvalidRecipe', 'prompts.json is not a JSON array of strings', {
      where,
      fix: 'Correct it, or name another file with prompts.file.',
      cause,
    });
  }
}
