import { attribute, DATA_TYPE } from '../onnx/graph.js';
import { elementCount, float32, int64 } from '../tensors/tensor.js';
import type { StateWriter } from './state-writer.js';

/**
 * Optimizer state in 8 bits: FP8 E4M3 codes in groups of 128 with dynamic-range expansion (COAT: Xi et al., ICLR 2025,
 * "COAT: Compressing Optimizer States and Activations for Memory-Efficient FP8 Training", section 4.1):
 *
 *   f(x) = sign(x) · 448 · (|x| / max)^k      k = ln(448 / 2⁻⁹) / ln(max / min)
 *
 * max and min over the group's magnitudes that are not 0: the group fills E4M3 from its smallest number to its largest, so no
 * second moment becomes 0 and nothing divides by it. State is read as x = sign · max · (|f| / 448)^(1/k).
 *
 * Nothing else than float32 and uint8 crosses the process, and ONNX cannot reinterpret bits: codes are computed. With
 * L = log₂|f|, E = max(⌊L⌋, −6) and a significand of 2^(L − E + 3) steps, code = 8 · (E + 6) + ⌊significand + u⌋, + 128 for
 * negative numbers: E4M3 as in "FP8 Formats for Deep Learning" (Micikevicius et al. 2022), subnormals and carries included.
 *
 * u = ½ would round to nearest. A second moment changes by 0.1 % in a step and E4M3 numbers are 6 to 12 % apart: it would stop
 * growing after about twenty steps. So u runs evenly through 0…1 over the steps (an additive recurrence, another start for
 * each of the 128 places), which rounds without bias and, unlike random numbers, the same in every repetition.
 */
export const FP8_GROUP = 128;
const LARGEST = 448;
const SMALLEST = 2 ** -9;
const LOG_RANGE = Math.log(LARGEST / SMALLEST);
/** Bound on k: a group of almost equal numbers. */
const LARGEST_POWER = 64;
/** Groups smaller than this are zero. Magnitudes are raised to the other number, so that a zero has a logarithm. */
const ZERO_GROUP = 1e-30;
const ZERO = 1e-37;
const LARGEST_CODE = 126;
/** Fractions of the two-dimensional sequence of least discrepancy (Roberts 2018): over the steps and over the places. */
const STEP_FRACTION = 0.7548776662466927;
const PLACE_FRACTION = 0.5698402909980532;

/** One state tensor: codes uint8 [groups, 128], and per group the largest magnitude and k, float32 [groups, 1]. */
export interface Fp8State {
  readonly codes: string;
  readonly largest: string;
  readonly power: string;
}

export function fp8Groups(dims: readonly number[]): number {
  return Math.ceil(elementCount(dims) / FP8_GROUP);
}

/** Adds the inputs `name`, `name.max`, `name.power` and returns the state in `dims`. All zeros read as zeros. */
export function readFp8(write: StateWriter, name: string, dims: readonly number[]): string {
  const groups = fp8Groups(dims);
  write.input(name, [groups, FP8_GROUP], 'uint8');
  write.input(`${name}.max`, [groups, 1]);
  write.input(`${name}.power`, [groups, 1]);
  const codes = write.write('Cast', [name], `${name}.index`, { to: attribute.int(DATA_TYPE.int32) });
  const table = (label: string, of: (code: number) => number) =>
    write.constant(
      `adam.fp8.${label}`,
      float32(
        [256],
        Float32Array.from({ length: 256 }, (_, code) => of(code)),
      ),
    );
  const logs = write.write('Gather', [table('logs', logarithm), codes], `${name}.log`);
  const guarded = write.write('Max', [`${name}.power`, write.number(1 / LARGEST_POWER)], `${name}.exponent`);
  const magnitude = write.write('Exp', [write.write('Div', [logs, guarded], `${name}.root`)], `${name}.share`);
  const signs = write.write('Gather', [table('signs', (code) => (code < 128 ? 1 : -1)), codes], `${name}.sign`);
  const scaled = write.write(
    'Mul',
    [write.write('Mul', [magnitude, signs], `${name}.signed`), `${name}.max`],
    `${name}.rows`,
  );
  const flat = write.write('Reshape', [scaled, integers(write, [-1])], `${name}.flat`);
  const count = elementCount(dims);
  const cut = write.write('Slice', [flat, integers(write, [0]), integers(write, [count])], `${name}.cut`);
  return write.write('Reshape', [cut, integers(write, dims)], `${name}.value`);
}

/** Adds the outputs `name.next`, `name.max.next`, `name.power.next` for the new state `value`. `offset` [128] is u. */
export function writeFp8(
  write: StateWriter,
  name: string,
  value: string,
  dims: readonly number[],
  offset: string,
): Fp8State {
  const groups = fp8Groups(dims);
  const flat = write.write('Reshape', [value, integers(write, [-1])], `${name}.new.flat`);
  const padding = integers(write, [0, groups * FP8_GROUP - elementCount(dims)]);
  const padded = write.write('Pad', [flat, padding], `${name}.new.padded`);
  const rows = write.write('Reshape', [padded, integers(write, [groups, FP8_GROUP])], `${name}.new.rows`);
  const magnitude = write.write('Abs', [rows], `${name}.new.magnitude`);
  const { largest, power } = rangeOf(write, name, magnitude, groups);
  const codes = codesOf(write, name, { magnitude, largest, power }, offset);
  const negative = write.write('Less', [rows, write.number(0)], `${name}.new.negative`);
  const sign = write.write('Where', [negative, write.number(128), write.number(0)], `${name}.new.sign`);
  const whole = write.write('Add', [codes, sign], `${name}.new.code`);
  const options = { type: 'uint8' as const, attributes: { to: attribute.int(DATA_TYPE.uint8) } };
  return { codes: write.output('Cast', [whole], `${name}.next`, [groups, FP8_GROUP], options), largest, power };
}

/** u of this step for each place of a group. */
export function fp8Offset(write: StateWriter, step: string): string {
  const places = Float32Array.from({ length: FP8_GROUP }, (_, place) => (place * PLACE_FRACTION) % 1);
  const turned = write.write('Mul', [step, write.number(STEP_FRACTION)], 'adam.fp8.turned');
  const fraction = write.write('Sub', [turned, write.write('Floor', [turned], 'adam.fp8.turns')], 'adam.fp8.fraction');
  const start = write.constant('adam.fp8.places', float32([FP8_GROUP], places));
  const moved = write.write('Add', [start, fraction], 'adam.fp8.moved');
  return write.write('Sub', [moved, write.write('Floor', [moved], 'adam.fp8.whole')], 'adam.fp8.offset');
}

/** Outputs max and k of each group. */
function rangeOf(
  write: StateWriter,
  name: string,
  magnitude: string,
  groups: number,
): { largest: string; power: string } {
  const highest = write.reduceRows('ReduceMax', magnitude, `${name}.new.highest`);
  const largest = write.output('Max', [highest, write.number(ZERO_GROUP)], `${name}.max.next`, [groups, 1]);
  const positive = write.write('Greater', [magnitude, write.number(0)], `${name}.new.positive`);
  const counted = write.write('Where', [positive, magnitude, largest], `${name}.new.counted`);
  const lowest = write.reduceRows('ReduceMin', counted, `${name}.new.lowest`);
  const smallest = write.write('Max', [lowest, write.number(ZERO_GROUP)], `${name}.new.smallest`);
  const ratio = write.write('Log', [write.write('Div', [largest, smallest], `${name}.new.ratio`)], `${name}.new.range`);
  const bounded = write.write('Max', [ratio, write.number(LOG_RANGE / LARGEST_POWER)], `${name}.new.bounded`);
  const power = write.output('Div', [write.number(LOG_RANGE), bounded], `${name}.power.next`, [groups, 1]);
  return { largest, power };
}

function codesOf(
  write: StateWriter,
  name: string,
  { magnitude, largest, power }: { magnitude: string; largest: string; power: string },
  offset: string,
): string {
  const at = (label: string) => `${name}.new.${label}`;
  const number = (value: number) => write.number(value);
  const raised = write.write('Log', [write.write('Max', [magnitude, number(ZERO)], at('raised'))], at('log'));
  const share = write.write('Sub', [raised, write.write('Log', [largest], at('log_max'))], at('share'));
  const slope = write.write('Mul', [power, number(1 / Math.LN2)], at('slope'));
  const expanded = write.write('Mul', [share, slope], at('expanded'));
  const log2 = write.write('Add', [expanded, number(Math.log2(LARGEST))], at('log2'));
  const exponent = write.write('Max', [write.write('Floor', [log2], at('floor')), number(-6)], at('exponent'));
  const within = write.write('Add', [write.write('Sub', [log2, exponent], at('within')), number(3)], at('steps_log2'));
  const steps = write.write('Exp', [write.write('Mul', [within, number(Math.LN2)], at('steps_log'))], at('steps'));
  const rounded = write.write('Floor', [write.write('Add', [steps, offset], at('moved'))], at('rounded'));
  const base = write.write('Mul', [write.write('Add', [exponent, number(6)], at('biased')), number(8)], at('base'));
  return write.write(
    'Min',
    [write.write('Add', [base, rounded], at('unsigned')), number(LARGEST_CODE)],
    at('bounded_code'),
  );
}

/** ln(|E4M3 number| / 448) of a code; far below every logarithm for the codes of 0. */
function logarithm(code: number): number {
  const unsigned = code % 128;
  const exponent = Math.max(Math.floor(unsigned / 8), 1);
  const significand = unsigned - 8 * (exponent - 1);
  return unsigned === 0 ? -1e30 : Math.log((significand * 2 ** (exponent - 10)) / LARGEST);
}

function integers(write: StateWriter, values: readonly number[]): string {
  return write.constant(`adam.integers.${values.join('.')}`, int64([values.length], values));
}
