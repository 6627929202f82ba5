import { NibbleflowError } from '../../contracts/errors.js';

/** What pickles hold, as far as weights files need it. Tuples are arrays, dictionaries are maps. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleGlobal
  | PickleObject;

export type PickleTuple = readonly PickleValue[];

export class PickleList {
  readonly items: PickleValue[] = [];
}

export class PickleDict {
  readonly entries = new Map<PickleValue, PickleValue>();
}

/** A function or class, by its name alone: `torch._utils._rebuild_tensor_v2`. */
export class PickleGlobal {
  constructor(readonly name: string) {}
}

/** What a persistent id or an allowed function gave: opaque to the reader. */
export abstract class PickleObject {
  /** In words for messages: `tensor`. */
  abstract readonly kind: string;
}

/** What a pickle may refer to, and what that means here. Nothing else can happen while one is read. */
export interface PickleWorld {
  /** Names that may be mentioned. */
  readonly globals: ReadonlySet<string>;
  /** What a call of an allowed function gives. */
  readonly calls: Readonly<Record<string, (args: PickleTuple) => PickleValue>>;
  /** What a persistent id gives. */
  readonly persistent: (id: PickleValue) => PickleValue;
}

/** What a value is, in words for messages. */
export function kindOfValue(value: PickleValue | undefined): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a tuple';
  if (value instanceof PickleList) return 'a list';
  if (value instanceof PickleDict) return 'a dictionary';
  if (value instanceof PickleGlobal) return value.name;
  if (value instanceof Uint8Array) return 'bytes';
  if (value instanceof PickleObject) return `a ${value.kind}`;
  return typeof value === 'string' ? 'a text' : 'a number';
}

/** InvalidInput about a weights file; `what` continues "The weights file …". */
export function invalidWeights(what: string, details: { where?: string; fix?: string } = {}): NibbleflowError {
  return new NibbleflowError('InvalidInput', `The weights file ${what}`, {
    fix: 'Copy or download it again.',
    ...details,
  });
}
