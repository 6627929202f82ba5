import { z } from 'zod';

/** JSON schema of a kind of settings files, for editors: every setting plus `extends` and `$schema`. */
export function fileJsonSchema(settings: z.ZodObject, what: string): Record<string, unknown> {
  const file = settings.extend({
    $schema: z.string().optional(),
    extends: z
      .union([z.string(), z.array(z.string())])
      .optional()
      .describe(`built-in ${what}s or files that this one changes`),
  });
  return z.toJSONSchema(file, { io: 'input' }) as Record<string, unknown>;
}
