import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadRecipe } from '../../cli/load-recipe.js';
import { recipeFileJsonSchema } from '../../cli/recipe-schema.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-recipe-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
const load = (name: string, ...settings: string[]) => loadRecipe(name, settings, folder);

describe('recipes', () => {
  it('fill in every default', async () => {
    await write('mine.yaml', '$schema: ./recipe.schema.json\nname: mine\n');
    const recipe = await load('mine.yaml');
    expect(recipe).toMatchObject({ name: 'mine', weights: { bits: 4, groupSize: 64 }, edges: { bits: 8 } });
  });

  it('extend others: mappings are merged, arrays replaced, later ones win', async () => {
    await write(
      'base.yaml',
      'weights: { bits: 6, groupSize: 32 }\ntransforms: [split-shortcut]\nevaluation: { samples: 10 }\n',
    );
    await write('fast.json', '{ "evaluation": { "samples": 4 } }');
    await write('mine.yaml', 'extends: [base.yaml, fast.json]\nweights: { bits: 3 }\ntransforms: []\n');
    const recipe = await load('mine.yaml');
    expect(recipe.weights).toMatchObject({ bits: 3, groupSize: 32 });
    expect(recipe.evaluation.samples).toBe(4);
    expect(recipe.transforms).toEqual([]);
  });

  it('refuse to extend each other in a circle', async () => {
    await write('a.yaml', 'extends: b.yaml\n');
    await write('b.yaml', 'extends: a.yaml\n');
    await expect(load('a.yaml')).rejects.toMatchObject({
      kind: 'InvalidRecipe',
      message: expect.stringContaining('circle'),
    });
  });

  it('take typed settings from the command line', async () => {
    await write('mine.yaml', 'finetuning: { phases: [{ name: a, layers: [linear], steps: 3 }] }\n');
    const recipe = await load(
      'mine.yaml',
      'evaluation.samples=32',
      'activations.groupSize=null',
      'finetuning.enabled=false',
      'weights.range=absmax',
      'finetuning.phases.0.steps=7',
    );
    expect(recipe.evaluation.samples).toBe(32);
    expect(recipe.activations.groupSize).toBeNull();
    expect(recipe.finetuning).toMatchObject({ enabled: false, phases: [{ name: 'a', steps: 7 }] });
    expect(recipe.weights.range).toBe('absmax');
  });

  it('find prompt files beside the recipe and settings beside the caller', async () => {
    await write('mine.yaml', 'prompts: { file: words.txt }\n');
    expect((await load('mine.yaml')).prompts.file).toBe(join(folder, 'words.txt'));
    expect((await loadRecipe(join(folder, 'mine.yaml'), ['prompts.file=x.json'], '/elsewhere')).prompts.file).toBe(
      '/elsewhere/x.json',
    );
  });

  it.each([
    ['an unknown key', 'weights: { bit: 4 }\n', [], 'unknown setting weights.bit; did you mean weights.bits?'],
    ['an unknown section', 'weigths: {}\n', [], 'did you mean weights?'],
    ['impossible bits', 'weights: { bits: 16 }\n', [], 'weights.bits'],
    ['a wrong word', 'weights: { range: max }\n', [], 'weights.range'],
    ['broken YAML', 'weights: {\n', [], 'not YAML'],
    ['a list instead of settings', '- weights\n', [], 'mapping'],
    ['an unknown setting', '', ['evaluation.sample=3'], 'did you mean evaluation.samples?'],
    ['a path below a number', '', ['weights.bits.low=3'], 'weights.bits has no settings of its own'],
    ['a setting without a value', '', ['weights.bits'], 'path=value'],
  ])('refuse %s', async (_, text, settings, message) => {
    await write('mine.yaml', text);
    await expect(load('mine.yaml', ...settings)).rejects.toMatchObject({
      kind: 'InvalidRecipe',
      message: expect.stringContaining(message),
    });
  });

  it('say which --set is wrong, and what it may be', async () => {
    await write('mine.yaml', 'weights: { granularity: channel }\n');
    await expect(load('mine.yaml', 'weights.groupSize=8')).rejects.toMatchObject({
      message: expect.stringContaining('16|32|64|128'),
      where: '--set weights.groupSize=8',
    });
    await expect(load('mine.yaml', 'weights.groupSize=32')).rejects.toMatchObject({
      message: expect.stringContaining('weights.granularity is channel'),
      where: '--set weights.groupSize=32',
    });
    const grouped = await load('mine.yaml', 'weights.groupSize=32', 'weights.granularity=group');
    expect(grouped.weights).toMatchObject({ granularity: 'group', groupSize: 32 });
  });

  it('say that a file or name does not exist', async () => {
    await expect(load('nothing.yaml')).rejects.toMatchObject({ message: expect.stringContaining('does not exist') });
    await expect(load('nothing')).rejects.toMatchObject({ message: expect.stringContaining('Built-in recipes') });
  });

  it('have a JSON schema that knows the settings and forbids others', () => {
    const schema = recipeFileJsonSchema() as {
      properties: Record<string, { properties?: object }>;
      additionalProperties: boolean;
    };
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['extends', 'weights', 'finetuning', '$schema']),
    );
    expect(schema.additionalProperties).toBe(false);
  });
});
