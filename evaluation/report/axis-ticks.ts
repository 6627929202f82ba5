/** Round numbers (1, 2, 5 × 10ᵏ apart) that span [low, high]; about `wanted` of them. The first is ≤ low, the last ≥ high. */
export function linearTicks(low: number, high: number, wanted = 5): number[] {
  const span = high - low > 0 ? high - low : Math.max(1, Math.abs(high)) * 0.1;
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) ?? 10) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** A tick as text: as many decimals as the distance of the ticks needs, a true minus sign. */
export function tickText(value: number, ticks: readonly number[]): string {
  const step = Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0));
  const decimals = Math.min(10, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? (0).toFixed(decimals) : text.replace('-', '−');
}

/** A coordinate with two decimals, so that the same data give the same bytes. */
export function coordinate(value: number): string {
  return (Math.round(value * 100) / 100).toString();
}
