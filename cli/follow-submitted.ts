import type { ExitCode } from '../contracts/errors.js';
import { type OutputFormat, print, printEvent, say } from './console-output.js';
import { followRun } from './follow-run.js';
import type { SubmittedRun } from './submit-run.js';

/** Says what was started and where it is seen, then follows it to its end, or returns at once with `detach`. */
export async function followSubmitted(
  { handle, workflowId, runId, uiUrl, attached }: SubmittedRun,
  { detach, output }: { readonly detach?: boolean; readonly output: OutputFormat },
): Promise<ExitCode> {
  say(`${attached ? 'Already running' : 'Started'} ${workflowId}`);
  if (uiUrl !== null) say(`See it at ${uiUrl}`);
  if (output === 'jsonl') printEvent('started', { workflowId, runId, uiUrl, attached });
  if (!detach) return followRun(handle, uiUrl, output);
  if (output === 'json') print(JSON.stringify({ schemaVersion: 1, workflowId, runId, uiUrl, attached }));
  if (output === 'text') print(workflowId);
  say(`Follow it with: nibbleflow attach ${workflowId}`);
  return 0;
}
