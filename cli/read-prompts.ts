import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { z } from 'zod';
import { NibbleflowError } from '../contracts/errors.js';

/** Reads a prompt file: .txt has a prompt a line, .json an array of strings. Throws InvalidRecipe. */
export async function readPrompts(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw invalid(file, `the prompt file cannot be read: ${error.code ?? error.message}`);
  });
  const prompts = extname(file) === '.json' ? fromJson(file, text) : text.split(/\r?\n/);
  const kept = prompts.map((prompt) => prompt.trim()).filter((prompt) => prompt !== '');
  if (kept.length === 0) throw invalid(file, 'the prompt file has no prompts');
  return kept;
}

function fromJson(file: string, text: string): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    throw invalid(file, 'the prompt file is not a JSON array of strings');
  }
}

function invalid(file: string, what: string): NibbleflowError {
  return new NibbleflowError('InvalidRecipe', what, { where: file, fix: 'Check prompts.file of the recipe.' });
}
