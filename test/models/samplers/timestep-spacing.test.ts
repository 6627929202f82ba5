import { describe, expect, it } from 'vitest';
import { roundHalfToEven, spacedTimesteps } from '../../../models/samplers/timestep-spacing.js';

describe('spacedTimesteps', () => {
  it('is table 2 of Lin et al. 2023 for 10 steps of 1000', () => {
    const offset = { stepsOffset: 0 };
    expect(spacedTimesteps('leading', 10, 1000, { stepsOffset: 1 })).toEqual([
      901, 801, 701, 601, 501, 401, 301, 201, 101, 1,
    ]);
    expect(spacedTimesteps('linspace', 10, 1000, offset)).toEqual([999, 888, 777, 666, 555, 444, 333, 222, 111, 0]);
    expect(spacedTimesteps('trailing', 10, 1000, offset)).toEqual([999, 899, 799, 699, 599, 499, 399, 299, 199, 99]);
  });

  it('rounds as numpy where the spacing is no whole number', () => {
    // numpy 2.4: np.round(np.arange(1000, 0, -1000 / 7)).astype(int) - 1 and np.linspace(0, 999, 7).round()[::-1]
    expect(spacedTimesteps('trailing', 7, 1000, { stepsOffset: 0 })).toEqual([999, 856, 713, 570, 428, 285, 142]);
    expect(spacedTimesteps('linspace', 7, 1000, { stepsOffset: 0 })).toEqual([999, 832, 666, 500, 333, 166, 0]);
    expect(spacedTimesteps('linspace', 3, 1000, { stepsOffset: 0, rounded: false })).toEqual([999, 499.5, 0]);
  });

  it('gives as many timesteps as asked for, none below 0, where diffusers slips to -1', () => {
    const timesteps = spacedTimesteps('trailing', 61, 1000, { stepsOffset: 0 });
    expect(timesteps.length).toBe(61);
    expect(Math.min(...timesteps)).toBe(15);
  });

  it('starts at the end of training with trailing spacing and at 0 with one linspace step', () => {
    expect(spacedTimesteps('trailing', 1, 1000, { stepsOffset: 0 })).toEqual([999]);
    expect(spacedTimesteps('linspace', 1, 1000, { stepsOffset: 0 })).toEqual([0]);
  });
});

describe('roundHalfToEven', () => {
  it('sends halves to the even neighbour', () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6].map(roundHalfToEven)).toEqual([0, 2, 2, 0, -2, 2, 3]);
  });
});
