import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { qualityArguments } from '../../../bench/quality/quality-arguments.js';
import { readProtocol } from '../../../bench/quality/read-protocol.js';
import { packageRoot } from '../../../cli/package-root.js';

const FOLDER = join(packageRoot(), 'bench/protocols/emoji-t2i-256');

describe('the protocol', () => {
  it('has 256 prompts with noise and pictures, and 512 triples of every branch', () => {
    const protocol = readProtocol(FOLDER);
    expect(protocol.prompts).toHaveLength(256);
    expect(protocol.latents.dims).toEqual([256, 12, 16, 16]);
    expect(protocol.floatImages.dims).toEqual([256, 32, 32, 3]);
    expect(protocol.triples).toHaveLength(512);
    expect(new Set(protocol.triples.map(({ branch }) => branch))).toEqual(new Set([0, 1]));
    expect(protocol.timesteps).toHaveLength(protocol.steps);
  });

  it('keeps the first pictures and their triples, but every prompt from calibration', () => {
    const whole = readProtocol(FOLDER);
    const part = readProtocol(FOLDER, 64);
    expect(part.prompts).toEqual(whole.prompts.slice(0, 64));
    expect(part.allPrompts).toEqual(whole.allPrompts);
    expect(part.triples).toHaveLength(128);
    expect(part.triples.every(({ image }) => image < 64)).toBe(true);
    expect(part.latents.data.every((value, index) => value === whole.latents.data[index])).toBe(true);
    expect(part.floatImages.data.every((level, index) => level === whole.floatImages.data[index])).toBe(true);
    expect([part.latents.dims[0], part.floatImages.dims[0]]).toEqual([64, 64]);
  });

  it('orders triples by picture, as batches of pictures are made', () => {
    const images = readProtocol(FOLDER).triples.map(({ image }) => image);
    expect(images).toEqual(images.toSorted((a, b) => a - b));
  });

  it('refuses more pictures than it has', () => {
    expect(() => readProtocol(FOLDER, 257)).toThrow(/2 to 256/);
  });
});

describe('the command line', () => {
  it('evaluates w4a4 on everything by default', () => {
    expect(qualityArguments([])).toMatchObject({
      recipes: ['w4a4'],
      samples: undefined,
      beforeOnly: false,
      quick: false,
    });
  });

  it('wants a name for a recipe with other settings: its result would take the place of the recipe', () => {
    expect(() => qualityArguments(['quest', '--set', 'activations.bits=6'])).toThrow('give it a name');
  });

  it('takes recipes and switches in any order', () => {
    const found = qualityArguments(['--quick', 'a', '--before-only', './b.yaml', '--threads', '2', '--set', 'name=c']);
    expect(found).toEqual({
      recipes: ['a', './b.yaml'],
      settings: ['name=c'],
      samples: 64,
      beforeOnly: true,
      quick: true,
      threads: 2,
      plain: true,
      before: true,
      tableOnly: false,
    });
  });

  it('lets --samples win over --quick', () => {
    expect(qualityArguments(['--quick', '--samples', '8']).samples).toBe(8);
  });

  it('refuses what it does not know and what is no number', () => {
    expect(() => qualityArguments(['--fast'])).toThrow(/fast/);
    expect(() => qualityArguments(['--samples', 'many'])).toThrow(/whole number/);
  });
});
