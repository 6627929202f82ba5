import { z } from 'zod';
import { configSchema } from '../contracts/config.js';

/** JSON schema of what temporal.config.ts exports. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input' }) as Record<string, unknown>;
}
