import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtInProtocols, loadProtocol } from '../../cli/load-protocol.js';
import { protocolFileJsonSchema } from '../../cli/protocol-schema.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-protocol-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
const load = (name: string, ...settings: string[]) => loadProtocol(name, settings, folder);
const refusal = (text: string) => ({ kind: 'InvalidInput', message: expect.stringContaining(text) });

describe('protocols', () => {
  it('come in three sizes', async () => {
    expect(await builtInProtocols()).toEqual(['full', 'quick', 'standard']);
    expect(await load('quick')).toMatchObject({ name: 'quick', samples: 64 });
    expect(await load('standard')).toMatchObject({ name: 'standard', samples: 256, settings: { kidSubsets: 100 } });
    expect(await load('full')).toMatchObject({ name: 'full', samples: 10_000, images: 'png' });
  });

  it('extend built-in ones and files: mappings are merged, arrays replaced', async () => {
    await write('base.yaml', 'extends: quick\nsettings: { kidSubsets: 7, splits: 3 }\nmetrics: [kid, mind]\n');
    await write(
      'mine.yaml',
      '$schema: ./p.json\nextends: base.yaml\nname: mine\nsettings: { splits: 4 }\nmetrics: [kid]\n',
    );
    const protocol = await load('mine.yaml');
    expect(protocol).toMatchObject({ name: 'mine', samples: 64, settings: { kidSubsets: 7, splits: 4 } });
    expect(protocol.metrics).toEqual(['kid']);
    expect(protocol).not.toHaveProperty('$schema');
  });

  it('take typed settings from the command line', async () => {
    const protocol = await load('quick', 'settings.kidSubsets=50', 'samples=99', 'metrics=[psnr, lpips, frechet]');
    expect(protocol).toMatchObject({
      samples: 99,
      settings: { kidSubsets: 50 },
      metrics: ['psnr', 'lpips', 'frechet'],
    });
  });

  it('find their prompts beside themselves, those of settings in the working directory', async () => {
    await write('mine.yaml', 'name: mine\nprompts: lines.txt\n');
    expect((await loadProtocol(join(folder, 'mine.yaml'), [], tmpdir())).prompts).toBe(join(folder, 'lines.txt'));
    expect((await load('quick', 'prompts=other.txt')).prompts).toBe(join(folder, 'other.txt'));
  });

  it('find the folder of their extractor beside themselves, and leave names names', async () => {
    await write('mine.yaml', 'name: mine\nextractor: extractors/mine\n');
    const elsewhere = tmpdir();
    expect((await loadProtocol(join(folder, 'mine.yaml'), [], elsewhere)).extractor).toBe(
      join(folder, 'extractors', 'mine'),
    );
    const asked = ['extractor=./other'];
    expect((await loadProtocol(join(folder, 'mine.yaml'), asked, elsewhere)).extractor).toBe(join(elsewhere, 'other'));
    await write('named.yaml', 'name: named\nextractor: inception-2015\n');
    expect((await load('named.yaml')).extractor).toBe('inception-2015');
  });

  it('name the nearest setting for an unknown one, in files and after --set', async () => {
    await write('mine.yaml', 'name: mine\nsettings: { kidSubset: 5 }\n');
    await expect(load('mine.yaml')).rejects.toMatchObject(refusal('did you mean settings.kidSubsets?'));
    await expect(load('quick', 'sample=5')).rejects.toMatchObject(refusal('did you mean samples?'));
  });

  it('name the nearest metric for an unknown one', async () => {
    await expect(load('quick', 'metrics=[frechett]')).rejects.toMatchObject({
      ...refusal('no metric frechett'),
      fix: 'Did you mean frechet?',
    });
    await expect(load('quick', 'metrics=[lpip]')).rejects.toMatchObject({ fix: 'Did you mean lpips?' });
  });

  it('refuse impossible values, circles and names that nothing has', async () => {
    await expect(load('quick', 'samples=1')).rejects.toMatchObject(refusal('samples'));
    await write('a.yaml', 'extends: b.yaml\n');
    await write('b.yaml', 'extends: a.yaml\n');
    await expect(load('a.yaml')).rejects.toMatchObject(refusal('circle'));
    await expect(load('quik')).rejects.toMatchObject({ kind: 'InvalidInput' });
  });

  it('have a JSON schema that knows the settings and forbids others', () => {
    const schema = protocolFileJsonSchema() as {
      properties: object;
      required?: string[];
      additionalProperties: boolean;
    };
    expect(Object.keys(schema.properties)).toEqual(
      expect.arrayContaining(['extends', '$schema', 'samples', 'metrics', 'settings']),
    );
    expect(schema.required ?? []).toEqual([]);
    expect(schema.additionalProperties).toBe(false);
  });
});
