import { protocolSchema } from '../contracts/protocol.js';
import { fileJsonSchema } from './file-json-schema.js';

/** JSON schema of protocol files, for editors: every setting of a protocol plus `extends`, which may bring the name. */
export function protocolFileJsonSchema(): Record<string, unknown> {
  return fileJsonSchema(protocolSchema.partial({ name: true }), 'protocol');
}
