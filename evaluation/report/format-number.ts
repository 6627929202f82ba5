/** What stands for a number that was not measured. */
export const DASH = '–';

const MINUS = '−';

/** Fixed decimals with a true minus sign; null and NaN are a dash, infinities ∞. */
export function fixed(value: number | null | undefined, digits: number): string {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  if (!Number.isFinite(value)) return value > 0 ? '∞' : `${MINUS}∞`;
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** Fixed decimals, always with a sign: +0.91, −0.10. */
export function signed(value: number, digits: number): string {
  const text = fixed(value, digits);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** `digits` significant digits without an exponent down to a millionth, below that with one. */
export function significant(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return fixed(value, 0);
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  if (magnitude < -6) return value.toExponential(digits - 1).replaceAll('-', MINUS);
  return fixed(value, Math.min(12, Math.max(0, digits - 1 - magnitude)));
}

/** A share 0…1 as per cent. */
export function percent(share: number | null | undefined, digits = 1): string {
  return share === null || share === undefined ? DASH : `${fixed(share * 100, digits)} %`;
}

/** Whole numbers with thousands separators. */
export function count(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ',');
}

const SCALES = [
  { from: 1e12, unit: 'T' },
  { from: 1e9, unit: 'G' },
  { from: 1e6, unit: 'M' },
  { from: 1e3, unit: 'k' },
] as const;

/** Bytes in decimal units: 2.45 MB. */
export function bytes(value: number): string {
  const scale = SCALES.find(({ from }) => value >= from);
  return scale === undefined ? `${value} B` : `${significant(value / scale.from)} ${scale.unit}B`;
}

/** A large number in short: 3.91 M. */
export function shortCount(value: number): string {
  const scale = SCALES.find(({ from }) => value >= from);
  return scale === undefined ? count(value) : `${significant(value / scale.from)} ${scale.unit}`;
}

/** Seconds as people say them: 0.4 s, 12 s, 3 min 05 s, 1 h 02 min. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${fixed(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const pad = (value: number) => value.toString().padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}
