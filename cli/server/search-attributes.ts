import { NibbleflowError } from '../../contracts/errors.js';
import { SEARCH_ATTRIBUTES } from '../../contracts/run-summary.js';
import type { OpenClient } from './connection.js';

/** Numbers of the types on the wire (temporal.api.enums.v1.IndexedValueType). */
const WIRE_TYPES = { Keyword: 2, Int: 3 } as const;

/** What is wrong with our search attributes in a namespace. */
export interface AttributeState {
  readonly missing: readonly string[];
  /** There under our name, with a type that our values do not have. */
  readonly mistyped: readonly string[];
}

/** Looks which of our search attributes a namespace has. Throws what the server answers. */
export async function searchAttributeState({ connection }: OpenClient, namespace: string): Promise<AttributeState> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const there = customAttributes ?? {};
  const names = Object.keys(SEARCH_ATTRIBUTES) as (keyof typeof SEARCH_ATTRIBUTES)[];
  return {
    missing: names.filter((name) => !(name in there)),
    mistyped: names.filter((name) => name in there && there[name] !== WIRE_TYPES[SEARCH_ATTRIBUTES[name]]),
  };
}

/** Adds search attributes of ours by name. Throws what the server answers. */
export async function addSearchAttributes(
  { connection }: OpenClient,
  namespace: string,
  names: readonly string[],
): Promise<void> {
  const wanted = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => names.includes(name));
  const searchAttributes = Object.fromEntries(wanted.map(([name, type]) => [name, WIRE_TYPES[type]]));
  await connection.operatorService.addSearchAttributes({ namespace, searchAttributes });
}

/** The command that adds them, for an administrator. */
export function searchAttributeCommand(namespace: string, names: readonly string[]): string {
  const wanted = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => names.includes(name));
  const flags = wanted.map(([name, type]) => `--name ${name} --type ${type}`);
  return `temporal operator search-attribute create --namespace ${namespace} ${flags.join(' ')}`;
}

/**
 * Adds our search attributes to a namespace of a server that is not ours. Throws ServerUnavailable with the command to
 * give to the server's administrator when we may not.
 */
export async function ensureSearchAttributes(open: OpenClient, namespace: string): Promise<void> {
  let missing: readonly string[] = Object.keys(SEARCH_ATTRIBUTES);
  try {
    ({ missing } = await searchAttributeState(open, namespace));
    if (missing.length > 0) await addSearchAttributes(open, namespace, missing);
  } catch (error) {
    throw new NibbleflowError('ServerUnavailable', 'the search attributes of nibbleflow cannot be added', {
      where: namespace,
      fix: `Run: ${searchAttributeCommand(namespace, missing)}`,
      cause: error,
    });
  }
}
