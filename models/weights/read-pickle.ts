import { quoted } from '../archives/quoted.js';
import {
  invalidWeights,
  kindOfValue,
  PickleDict,
  PickleGlobal,
  PickleList,
  type PickleTuple,
  type PickleValue,
  type PickleWorld,
} from './pickle-values.js';

/**
 * A reader of Python pickles, protocols 2 to 4, that executes nothing: names of functions are looked up in a short list, and
 * everything that is not on it is refused by name. Opcodes as in the comments of CPython's Lib/pickletools.py.
 * The machine has no recursion; every opcode takes at least one byte, so that reading ends.
 */

/** torch's magic number has 10 bytes; longer integers only cost time. */
const LONGEST_INTEGER = 64;
const LARGEST_MEMO_INDEX = 2 ** 24;

interface Machine {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly world: PickleWorld;
  at: number;
  stack: PickleValue[];
  /** Stacks below each open mark. */
  readonly marks: PickleValue[][];
  readonly memo: Map<number, PickleValue>;
}

/**
 * Reads one pickle that starts at `start`; `end` is the position behind it.
 * @throws NibbleflowError InvalidInput for anything but plain data and the functions of `world`
 */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  world: PickleWorld,
): { readonly value: PickleValue; readonly end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const machine: Machine = { bytes, view, world, at: start, stack: [], marks: [], memo: new Map() };
  for (;;) {
    const code = unsigned(machine, 1);
    if (code === STOP) return { value: pop(machine), end: machine.at };
    const opcode = OPCODES[code];
    if (opcode === undefined) throw invalidWeights(`is no pickle that weights are stored in (opcode ${code})`);
    opcode(machine);
  }
}

const STOP = 0x2e;

type Opcode = (machine: Machine) => void;

const pushing =
  (value: (machine: Machine) => PickleValue): Opcode =>
  (machine) => {
    const pushed = value(machine); // may open or close a mark, which changes the stack
    machine.stack.push(pushed);
  };

/** A tuple of the `count` topmost values. */
const tupleOf = (count: number): Opcode =>
  pushing((machine) => Array.from({ length: count }, () => pop(machine)).reverse());

const OPCODES: Readonly<Record<number, Opcode>> = {
  128: (machine) => void unsigned(machine, 1), // PROTO
  149: (machine) => void take(machine, 8), // FRAME
  40: (machine) => {
    machine.marks.push(machine.stack);
    machine.stack = [];
  }, // MARK
  48: (machine) => void pop(machine), // POP
  49: (machine) => void popMark(machine), // POP_MARK
  50: pushing(top), // DUP
  78: pushing(() => null), // NONE
  136: pushing(() => true), // NEWTRUE
  137: pushing(() => false), // NEWFALSE
  74: pushing((machine) => unsigned(machine, 4) | 0), // BININT
  75: pushing((machine) => unsigned(machine, 1)), // BININT1
  77: pushing((machine) => unsigned(machine, 2)), // BININT2
  138: pushing((machine) => integer(take(machine, unsigned(machine, 1)))), // LONG1
  139: pushing((machine) => integer(take(machine, unsigned(machine, 4)))), // LONG4
  71: pushing(float), // BINFLOAT
  88: pushing((machine) => text(take(machine, unsigned(machine, 4)))), // BINUNICODE
  140: pushing((machine) => text(take(machine, unsigned(machine, 1)))), // SHORT_BINUNICODE
  84: pushing((machine) => text(take(machine, unsigned(machine, 4)))), // BINSTRING
  85: pushing((machine) => text(take(machine, unsigned(machine, 1)))), // SHORT_BINSTRING
  66: pushing((machine) => take(machine, unsigned(machine, 4))), // BINBYTES
  67: pushing((machine) => take(machine, unsigned(machine, 1))), // SHORT_BINBYTES
  93: pushing(() => new PickleList()), // EMPTY_LIST
  125: pushing(() => new PickleDict()), // EMPTY_DICT
  41: tupleOf(0), // EMPTY_TUPLE
  133: tupleOf(1), // TUPLE1
  134: tupleOf(2), // TUPLE2
  135: tupleOf(3), // TUPLE3
  116: pushing(popMark), // TUPLE
  97: (machine) => append(machine, [pop(machine)]), // APPEND
  101: (machine) => append(machine, popMark(machine)), // APPENDS
  115: (machine) => {
    const value = pop(machine);
    setItems(machine, [pop(machine), value]);
  }, // SETITEM
  117: (machine) => setItems(machine, popMark(machine)), // SETITEMS
  113: (machine) => remember(machine, unsigned(machine, 1)), // BINPUT
  114: (machine) => remember(machine, unsigned(machine, 4)), // LONG_BINPUT
  148: (machine) => remember(machine, machine.memo.size), // MEMOIZE
  104: pushing((machine) => recall(machine, unsigned(machine, 1))), // BINGET
  106: pushing((machine) => recall(machine, unsigned(machine, 4))), // LONG_BINGET
  99: pushing((machine) => global(machine, `${line(machine)}.${line(machine)}`)), // GLOBAL
  147: pushing((machine) => {
    const [name, module] = [pop(machine), pop(machine)];
    if (typeof name !== 'string' || typeof module !== 'string') throw brokenPickle();
    return global(machine, `${module}.${name}`);
  }), // STACK_GLOBAL
  81: pushing((machine) => machine.world.persistent(pop(machine))), // BINPERSID
  82: pushing(call), // REDUCE
  98: build, // BUILD
};

function top(machine: Machine): PickleValue {
  const value = machine.stack.at(-1);
  if (value === undefined) throw brokenPickle();
  return value;
}

function pop(machine: Machine): PickleValue {
  const value = machine.stack.pop();
  if (value === undefined) throw brokenPickle();
  return value;
}

/** The values since the newest mark, which is closed. */
function popMark(machine: Machine): PickleValue[] {
  const below = machine.marks.pop();
  if (below === undefined) throw brokenPickle();
  const values = machine.stack;
  machine.stack = below;
  return values;
}

function append(machine: Machine, values: readonly PickleValue[]): void {
  const list = top(machine);
  if (!(list instanceof PickleList)) throw invalidWeights(`appends to ${kindOfValue(list)}`);
  for (const value of values) list.items.push(value);
}

function setItems(machine: Machine, values: readonly PickleValue[]): void {
  const dict = top(machine);
  if (!(dict instanceof PickleDict) || values.length % 2 !== 0) {
    throw invalidWeights(`sets items of ${kindOfValue(dict)}`);
  }
  for (let index = 0; index < values.length; index += 2) {
    dict.entries.set(values[index] as PickleValue, values[index + 1] as PickleValue);
  }
}

function remember(machine: Machine, index: number): void {
  if (index > LARGEST_MEMO_INDEX) throw brokenPickle();
  machine.memo.set(index, top(machine));
}

function recall(machine: Machine, index: number): PickleValue {
  const value = machine.memo.get(index);
  if (value === undefined) throw brokenPickle();
  return value;
}

function global({ world }: Machine, name: string): PickleGlobal {
  if (world.globals.has(name)) return new PickleGlobal(name);
  throw invalidWeights(`asks for ${quoted(name)}, which no plain tensor needs: nothing was executed`, {
    fix: 'Do not open it elsewhere unless you trust where it came from. State dicts of tensors are read.',
  });
}

function call(machine: Machine): PickleValue {
  const args = pop(machine);
  const callee = pop(machine);
  const run = callee instanceof PickleGlobal ? machine.world.calls[callee.name] : undefined;
  if (run === undefined || !Array.isArray(args)) {
    throw invalidWeights(`calls ${kindOfValue(callee)}, which no plain tensor needs: nothing was executed`);
  }
  return run(args as PickleTuple);
}

/** State of an ordered dictionary (torch keeps versions of modules there) changes no tensor; other objects have none. */
function build(machine: Machine): void {
  pop(machine);
  const target = top(machine);
  if (!(target instanceof PickleDict)) throw invalidWeights(`changes ${kindOfValue(target)} from within`);
}

function take(machine: Machine, length: number): Uint8Array {
  const end = machine.at + length;
  if (end > machine.bytes.byteLength) throw invalidWeights('is truncated: a pickle ends within');
  const taken = machine.bytes.subarray(machine.at, end);
  machine.at = end;
  return taken;
}

function unsigned(machine: Machine, size: 1 | 2 | 4): number {
  const { view, at } = machine;
  take(machine, size);
  if (size === 1) return view.getUint8(at);
  return size === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
}

function float(machine: Machine): number {
  const { view, at } = machine;
  take(machine, 8);
  return view.getFloat64(at, false);
}

/** Little-endian two's complement. */
function integer(bytes: Uint8Array): number | bigint {
  if (bytes.byteLength > LONGEST_INTEGER) throw brokenPickle();
  let value = 0n;
  for (let index = bytes.byteLength - 1; index >= 0; index -= 1) value = (value << 8n) | BigInt(bytes[index] as number);
  if (((bytes.at(-1) ?? 0) & 0x80) !== 0) value -= 1n << BigInt(8 * bytes.byteLength);
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function line(machine: Machine): string {
  const end = machine.bytes.indexOf(0x0a, machine.at);
  if (end < 0) throw invalidWeights('is truncated: a pickle ends within');
  const result = text(take(machine, end - machine.at));
  take(machine, 1);
  return result;
}

function brokenPickle(): Error {
  return invalidWeights('holds a broken pickle');
}
