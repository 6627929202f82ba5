import { NibbleflowError } from '../../contracts/errors.js';
import { SEARCH_ATTRIBUTES } from '../../contracts/run-summary.js';
import type { OpenClient } from './connection.js';

/** Numbers of the types on the wire (temporal.api.enums.v1.IndexedValueType). */
const WIRE_TYPES = { Keyword: 2, Int: 3 } as const;

/**
 * Adds our search attributes to a namespace of a server that is not ours. Throws ServerUnavailable with the command to
 * give to the server's administrator when we may not.
 */
export async function ensureSearchAttributes({ connection }: OpenClient, namespace: string): Promise<void> {
  const service = connection.operatorService;
  try {
    const { customAttributes } = await service.listSearchAttributes({ namespace });
    const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in (customAttributes ?? {})));
    if (missing.length === 0) return;
    const searchAttributes = Object.fromEntries(missing.map(([name, type]) => [name, WIRE_TYPES[type]]));
    await service.addSearchAttributes({ namespace, searchAttributes });
  } catch (error) {
    const flags = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `--name ${name} --type ${type}`);
    throw new NibbleflowError('ServerUnavailable', 'the search attributes of nibbleflow cannot be added', {
      where: namespace,
      fix: `Run: temporal operator search-attribute create --namespace ${namespace} ${flags.join(' ')}`,
      cause: error,
    });
  }
}
