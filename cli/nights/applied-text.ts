import type { ServiceRecord } from '../server/service-record.js';
import type { AppliedRow, NightChange } from './apply-nights.js';

/** What became of a night, in lines for people. */
export function appliedText({ name, action, changes, paused, next }: AppliedRow): string {
  const hint = action === 'leftover' ? ' (not in temporal.config.ts; --prune deletes it)' : '';
  const due = paused ? ', paused' : next[0] === undefined ? '' : `, next ${next[0]}`;
  return [`${name}: ${action}${hint}${due}`, ...changes.map((change) => `  ${changeText(change)}`)].join('\n');
}

/** Nights need a server and a worker when they are due; null when nothing waits for them. */
export function keepsRunning(
  rows: readonly AppliedRow[],
  { server }: Pick<ServiceRecord, 'server'>,
  dryRun: boolean,
): string | null {
  const waits = rows.some(({ action, paused }) => action !== 'deleted' && !paused);
  if (dryRun || !waits) return null;
  const who = server === null ? 'The worker stays' : 'Server and worker stay';
  return `${who} up while nights are applied, however idle. After a restart of this machine start ${server === null ? 'it' : 'them'} with \`nibbleflow up\`, best as a service: examples/nightly.`;
}

function changeText({ path, from, to }: NightChange): string {
  const shown = (value: unknown): string => (value === null ? 'none' : JSON.stringify(value));
  return `${path}: ${shown(from)} → ${shown(to)}`;
}
