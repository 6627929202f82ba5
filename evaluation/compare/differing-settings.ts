import type { SettingDifference } from './comparison.js';

/** Leaves that differ between two JSON values, by dotted path in alphabetical order. Lists are leaves when they hold no objects. */
export function differingSettings(left: unknown, right: unknown): SettingDifference[] {
  const [a, b] = [leavesOf(left), leavesOf(right)];
  const paths = [...new Set([...a.keys(), ...b.keys()])].sort((x, y) => (x < y ? -1 : 1));
  return paths
    .filter((path) => JSON.stringify(a.get(path)) !== JSON.stringify(b.get(path)))
    .map((path) => ({
      path,
      ...(a.has(path) ? { left: a.get(path) } : {}),
      ...(b.has(path) ? { right: b.get(path) } : {}),
    }));
}

function leavesOf(value: unknown, path = '', found = new Map<string, unknown>()): Map<string, unknown> {
  const entries = entriesOf(value);
  if (entries === null) {
    if (path !== '') found.set(path, value);
    return found;
  }
  for (const [key, inner] of entries) leavesOf(inner, path === '' ? key : `${path}.${key}`, found);
  return found;
}

/** Members of an object or of a list of objects; null for a leaf. Empty ones are leaves. */
function entriesOf(value: unknown): [string, unknown][] | null {
  if (typeof value !== 'object' || value === null) return null;
  const entries = Object.entries(value);
  if (entries.length === 0) return null;
  const isPlainList = Array.isArray(value) && !value.some((entry) => typeof entry === 'object' && entry !== null);
  return isPlainList ? null : entries;
}
