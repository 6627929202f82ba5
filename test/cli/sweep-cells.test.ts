import { describe, expect, it } from 'vitest';
import { sweepCells } from '../../cli/sweep-cells.js';

describe('the runs of a sweep', () => {
  it('are every recipe with every combination of values, named by what differs', () => {
    const cells = sweepCells('w8a8,./mine/best.yaml', ['weights.bits=4,8', 'evaluation.samples=32']);
    expect(cells).toEqual([
      { name: 'w8a8 weights.bits=4', recipe: 'w8a8', settings: ['weights.bits=4', 'evaluation.samples=32'] },
      { name: 'w8a8 weights.bits=8', recipe: 'w8a8', settings: ['weights.bits=8', 'evaluation.samples=32'] },
      {
        name: 'best weights.bits=4',
        recipe: './mine/best.yaml',
        settings: ['weights.bits=4', 'evaluation.samples=32'],
      },
      {
        name: 'best weights.bits=8',
        recipe: './mine/best.yaml',
        settings: ['weights.bits=8', 'evaluation.samples=32'],
      },
    ]);
  });

  it('keep lists, mappings and quoted commas as one value', () => {
    const [setting] = ['sensitivity.bits=[4, 8],[6],"a,b"'];
    const values = sweepCells('w4a4', [setting ?? '']).map(({ settings }) => settings[0]);
    expect(values).toEqual(['sensitivity.bits=[4, 8]', 'sensitivity.bits=[6]', 'sensitivity.bits="a,b"']);
  });

  it.each([
    ['w8a8,,w4a4', [], /a value of the sweep is empty \(--recipe\)/],
    ['w8a8,w8a8', [], /w8a8 is there twice/],
    ['w8a8', ['weights.bits'], /looks like path=value/],
    ['w8a8', ['weights.bits=4,'], /is empty \(--set weights.bits=4,\)/],
    ['w8a8', ['weights.bits=2,3,4,5,6,7,8', 'activations.bits=2,3,4,5,6,7,8', 'x=1,2'], /98 runs; at most 64/],
  ])('refuses %s %j', (recipes, settings, message) => {
    expect(() => sweepCells(recipes, settings)).toThrow(message);
  });
});
