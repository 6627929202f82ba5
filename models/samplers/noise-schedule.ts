/**
 * Noise schedules: β_t, α_t = 1 − β_t, ᾱ_t = Π α_s, with x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε.
 * The tables hold float32 values, rounded where diffusers (DDIMScheduler, DDPMScheduler…) rounds them, as doubles.
 */

export interface NoiseScheduleConfig {
  readonly num_train_timesteps: number;
  readonly beta_start: number;
  readonly beta_end: number;
  readonly beta_schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2' | 'sigmoid';
  readonly trained_betas?: readonly number[] | null | undefined;
  readonly rescale_betas_zero_snr?: boolean | null | undefined;
}

/** Largest β of the cosine schedule; keeps ᾱ above zero. */
const MAX_COSINE_BETA = 0.999;

/** Upper end of the logistic curve of the sigmoid schedule (GeoDiff), which runs from −6 to 6. */
const SIGMOID_END = 6;

/**
 * ᾱ_t of every training timestep, float32 values.
 * @returns num_train_timesteps values (the length of trained_betas when they are given)
 */
export function alphasCumprod(config: NoiseScheduleConfig): Float64Array {
  let betas = betasOf(config);
  if (config.rescale_betas_zero_snr) betas = rescaleZeroTerminalSnr(betas);
  return cumulativeAlphas(betas);
}

/** β_t of every training timestep, float32 values, before any rescaling. */
export function betasOf(config: NoiseScheduleConfig): Float64Array {
  const count = config.num_train_timesteps;
  if (config.trained_betas) return Float64Array.from(config.trained_betas, Math.fround);
  switch (config.beta_schedule) {
    case 'linear':
      return linspace(config.beta_start, config.beta_end, count).map(Math.fround);
    case 'scaled_linear':
      return linspace(Math.sqrt(config.beta_start), Math.sqrt(config.beta_end), count).map((root) => {
        const rounded = Math.fround(root);
        return Math.fround(rounded * rounded);
      });
    case 'squaredcos_cap_v2':
      return Float64Array.from({ length: count }, (_, i) => {
        const ratio = cosineAlphaBar((i + 1) / count) / cosineAlphaBar(i / count);
        return Math.fround(Math.min(1 - ratio, MAX_COSINE_BETA));
      });
    case 'sigmoid':
      return linspace(-SIGMOID_END, SIGMOID_END, count).map((x) =>
        Math.fround(config.beta_start + (config.beta_end - config.beta_start) / (1 + Math.exp(-x))),
      );
  }
}

/** ᾱ(u) = cos²(π/2 · (u + 0.008)/1.008), u in [0, 1]: "Improved DDPM", Nichol and Dhariwal 2021. */
function cosineAlphaBar(u: number): number {
  return Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2;
}

/**
 * Moves √ᾱ so that it ends at exactly 0 and begins where it did: algorithm 1 of "Common diffusion noise schedules and
 * sample steps are flawed" (Lin et al. 2023).
 */
export function rescaleZeroTerminalSnr(betas: Float64Array): Float64Array {
  const roots = cumulativeAlphas(betas).map((alphaBar) => Math.fround(Math.sqrt(alphaBar)));
  const first = roots[0] ?? 1;
  const last = roots[roots.length - 1] ?? 0;
  const scale = Math.fround(first / Math.fround(first - last));
  const alphaBars = roots.map((root) => {
    const moved = Math.fround(Math.fround(root - last) * scale);
    return Math.fround(moved * moved);
  });
  return alphaBars.map((alphaBar, t) => {
    const alpha = t === 0 ? alphaBar : Math.fround(alphaBar / (alphaBars[t - 1] ?? 1));
    return Math.fround(1 - alpha);
  });
}

/** Running product of 1 − β: accumulated in doubles, stored as float32, as torch's cumprod does on a CPU. */
function cumulativeAlphas(betas: Float64Array): Float64Array {
  let product = 1;
  return betas.map((beta) => {
    product *= Math.fround(1 - beta);
    return Math.fround(product);
  });
}

/** `count` evenly spaced numbers from `start` to `end`, both included; just `start` when count is 1. */
export function linspace(start: number, end: number, count: number): Float64Array {
  const step = count > 1 ? (end - start) / (count - 1) : 0;
  return Float64Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? end : start + i * step));
}
