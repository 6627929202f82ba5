import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { NibbleflowError } from '../contracts/errors.js';
import { explainIssues, schemaAt, unknownKey } from './explain-issues.js';

/**
 * A schema's defaults with `path=value` settings applied; values are YAML, so `8`, `true` and `[a, b]` have their types.
 * Throws InvalidInput that names the nearest known setting for an unknown one, and every impossible value.
 */
export function applySettings<S extends z.ZodType>(schema: S, settings: readonly string[]): z.output<S> {
  const target: Record<string, unknown> = {};
  for (const setting of settings) {
    const at = setting.indexOf('=');
    const path = setting.slice(0, Math.max(0, at)).split('.');
    if (at <= 0) {
      throw new NibbleflowError('InvalidInput', 'a setting looks like path=value', { where: `--set ${setting}` });
    }
    for (let length = 1; length <= path.length; length += 1) {
      const part = path.slice(0, length);
      if (schemaAt(schema, part) !== undefined) continue;
      throw new NibbleflowError('InvalidInput', unknownKey(part, schema), { where: `--set ${setting}` });
    }
    assign(target, path, yamlValue(setting.slice(at + 1)));
  }
  const parsed = schema.safeParse(target);
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('InvalidInput', explainIssues(parsed.error, schema), { where: '--set' });
}

function yamlValue(text: string): unknown {
  try {
    return parseYaml(text);
  } catch {
    return text;
  }
}

function assign(target: Record<string, unknown>, [key, ...rest]: readonly string[], value: unknown): void {
  if (key === undefined) return;
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  const inner = { ...(target[key] as Record<string, unknown> | undefined) };
  target[key] = inner;
  assign(inner, rest, value);
}
