import type { Client, WorkflowHandle } from '@temporalio/client';
import type { StartOptions } from '../contracts/run-control.js';
import { QUANTIZE_WORKFLOW } from '../contracts/run-summary.js';
import type { RunSpec } from '../contracts/stages.js';
import type { LoadedConfig } from './load-config.js';
import { checkStore } from './open-store.js';
import { workflowIdOf } from './prepare-run.js';
import { hostQueue } from './server/host-queue.js';
import type { ServiceRecord } from './server/service-record.js';

export interface SubmittedRun {
  readonly handle: WorkflowHandle;
  readonly workflowId: string;
  readonly runId: string;
  /** It was running already: this command attached to it. */
  readonly attached: boolean;
  readonly uiUrl: string | null;
}

/** Starts a quantization, or attaches to the one that the same command started. */
export function submitRun(
  client: Client,
  services: ServiceRecord,
  spec: RunSpec,
  loaded: LoadedConfig,
  options?: StartOptions,
): Promise<SubmittedRun> {
  const { recipe, compute } = spec;
  const bits = `W${recipe.weights.bits}A${recipe.activations.bits}`;
  return startWorkflow(client, services, loaded, {
    type: QUANTIZE_WORKFLOW,
    workflowId: workflowIdOf(spec),
    spec,
    ...(options === undefined ? {} : { options }),
    summary: `${spec.pipelineName} → ${bits} (${recipe.name}, ${compute.device})`,
    details: `From \`${spec.source}\` to \`${spec.out}\`, ${compute.threads} threads on ${compute.device}.`,
  });
}

/** A workflow to start: its name, its id, what it is started with, and what the UI says of it. */
export interface WorkflowRequest {
  readonly type: string;
  readonly workflowId: string;
  readonly spec: unknown;
  readonly summary: string;
  readonly details: string;
  /** Task queues of an earlier start; default: those of the settings. */
  readonly queues?: unknown;
  /** What is computed again; default: nothing. A run that is attached to keeps its own. */
  readonly options?: StartOptions;
}

/** Starts a workflow, or attaches to the running one of the same id. Throws StoreUnavailable or StoreRefused. */
export async function startWorkflow(
  client: Client,
  services: ServiceRecord,
  loaded: LoadedConfig,
  { type, workflowId, spec, summary, details, queues, options }: WorkflowRequest,
): Promise<SubmittedRun> {
  await checkStore(loaded);
  const attached = await isRunningNow(client, workflowId);
  const { cpu, gpu } = loaded.config.taskQueues;
  const handle = await client.workflow.start(type, {
    workflowId,
    taskQueue: cpu.name,
    args: [
      spec,
      queues ?? { cpu: cpu.name, gpu: gpu.name, host: hostQueue(loaded.stateDir) },
      ...(options ? [options] : []),
    ],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    staticSummary: summary.slice(0, 200),
    staticDetails: details,
  });
  const { runId } = await handle.describe();
  return { handle, workflowId, runId, attached, uiUrl: runUrl(services, workflowId, runId) };
}

/** Page of a run in the UI; null when the UI's address is not known (a configured server). */
export function runUrl(services: ServiceRecord, workflowId: string, runId: string): string | null {
  if (services.uiUrl === null) return null;
  const { uiUrl, namespace } = services;
  return `${uiUrl}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflowId)}/${runId}/history`;
}

async function isRunningNow(client: Client, workflowId: string): Promise<boolean> {
  const { WorkflowNotFoundError } = await import('@temporalio/client');
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
