import { z } from 'zod';
import { nearestName } from '../contracts/errors.js';

type Issue = z.core.$ZodIssue;

/** One line per problem: the setting's path, what is wrong, and the nearest known key for an unknown one. */
export function explainIssues(error: z.ZodError, schema: z.ZodType): string {
  return error.issues.map((issue) => explainIssue(issue, schema)).join('\n');
}

function explainIssue(issue: Issue, schema: z.ZodType): string {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey([...issue.path, key], schema)).join('\n');
  }
  const path = pathText(issue.path);
  return path === '' ? issue.message : `${path}: ${issue.message}`;
}

/** Where the first problem was written: the `--set` that set it, else the file. */
export function issuePlace(error: z.ZodError, settings: readonly string[], file: string): string {
  const path = pathText(error.issues[0]?.path ?? []);
  const setting = settings.findLast((text) => text.slice(0, text.indexOf('=')) === path);
  return setting === undefined ? file : `--set ${setting}`;
}

/** "unknown setting weights.bit; did you mean weights.bits?", or the list of known ones. */
export function unknownKey(path: readonly PropertyKey[], schema: z.ZodType): string {
  const parent = path.slice(0, -1);
  const known = keysAt(schema, parent);
  const nearest = nearestName(String(path.at(-1)), known);
  const hint =
    nearest !== undefined
      ? `did you mean ${pathText([...parent, nearest])}?`
      : known.length > 0
        ? `known here: ${known.join(', ')}`
        : `${pathText(parent)} has no settings of its own`;
  return `unknown setting ${pathText(path)}; ${hint}`;
}

/** The schema of the setting at a path; undefined where there is none. Array elements count by any index. */
export function schemaAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType | undefined {
  let current: z.ZodType | undefined = unwrapped(schema);
  for (const key of path) {
    if (current instanceof z.ZodObject) current = (current.shape as Record<string, z.ZodType>)[String(key)];
    else if (current instanceof z.ZodArray) current = current.element as z.ZodType;
    else if (current instanceof z.ZodRecord) current = current.valueType as z.ZodType;
    else return undefined;
    if (current === undefined) return undefined;
    current = unwrapped(current);
  }
  return current;
}

function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const found = schemaAt(schema, path);
  return found instanceof z.ZodObject ? Object.keys(found.shape as object) : [];
}

/** The schema below defaults, optionals and nullables. */
function unwrapped(schema: z.ZodType): z.ZodType {
  let current = schema;
  while (
    current instanceof z.ZodDefault ||
    current instanceof z.ZodPrefault ||
    current instanceof z.ZodOptional ||
    current instanceof z.ZodNullable
  ) {
    current = current.unwrap() as z.ZodType;
  }
  return current;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}
