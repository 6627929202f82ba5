import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { WorkerOptions } from '@temporalio/worker';
import { packageVersion } from '../../activities/package-file.js';
import type { Config } from '../../contracts/config.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { workflowBundleFile } from './workflow-bundle-file.js';

/**
 * Worker versioning: with `worker.versioning` a worker belongs to a version of a deployment, and a run stays with the version
 * that it was started on (PINNED), whatever is deployed meanwhile. New runs go to the deployment's current version.
 */
export interface WorkerVersion {
  readonly deploymentName: string;
  readonly buildId: string;
}

/** How long a new version may take until the server knows that its workers poll. */
const KNOWN_TIMEOUT_MS = 60_000;
const RETRY_MS = 500;
/** gRPC: the server does not know the deployment or its version yet. */
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;

/** The version that this build is; null without `worker.versioning`. */
export function workerVersion({ versioning }: Config['worker']): WorkerVersion | null {
  if (versioning === null) return null;
  return { deploymentName: versioning.deployment, buildId: versioning.buildId ?? ownBuildId() };
}

/** Options of every worker of a version. */
export function versionOptions(version: WorkerVersion | null): Pick<WorkerOptions, 'workerDeploymentOptions'> {
  if (version === null) return {};
  return { workerDeploymentOptions: { version, useWorkerVersioning: true, defaultVersioningBehavior: 'PINNED' } };
}

/** The version of this package and the code of its workflows: changes when a running run could not go on. */
function ownBuildId(): string {
  const file = workflowBundleFile();
  const code = existsSync(file) ? readFileSync(file) : '';
  return `${packageVersion()}-${createHash('sha256').update(code).digest('hex').slice(0, 8)}`;
}

/** Build id that new runs of a deployment go to; null when there is none, or no such deployment. */
export async function currentBuildId(
  client: Client,
  namespace: string,
  deploymentName: string,
): Promise<string | null> {
  try {
    const found = await client.workflowService.describeWorkerDeployment({ namespace, deploymentName });
    return found.workerDeploymentInfo?.routingConfig?.currentDeploymentVersion?.buildId ?? null;
  } catch (error) {
    if ((error as { code?: number }).code === NOT_FOUND) return null;
    throw error;
  }
}

/**
 * Lets new runs start on this version, once the server knows its workers. Unless `always`, only when the deployment has no
 * current version yet: the first one. Returns whether it is current. Throws ServerUnavailable.
 */
export async function makeCurrent(
  client: Client,
  namespace: string,
  version: WorkerVersion,
  { always }: { readonly always: boolean },
): Promise<boolean> {
  const deadline = Date.now() + KNOWN_TIMEOUT_MS;
  for (;;) {
    const current = await currentBuildId(client, namespace, version.deploymentName);
    if (current === version.buildId) return true;
    if (current !== null && !always) return false;
    try {
      await client.workflowService.setWorkerDeploymentCurrentVersion({
        ...{ namespace, deploymentName: version.deploymentName, buildId: version.buildId },
        // A worker that serves fewer queues than the version before it is a person's decision.
        ignoreMissingTaskQueues: true,
      });
      return true;
    } catch (error) {
      const isUnknown = [NOT_FOUND, FAILED_PRECONDITION].includes((error as { code?: number }).code ?? -1);
      if (!isUnknown || Date.now() > deadline) throw cannotSet(version, error);
    }
    await sleep(RETRY_MS);
  }
}

function cannotSet({ deploymentName, buildId }: WorkerVersion, error: unknown): NibbleflowError {
  const what = error instanceof Error ? error.message : String(error);
  return new NibbleflowError('ServerUnavailable', `the version cannot be made current: ${what}`, {
    where: `${deploymentName} ${buildId}`,
    fix: 'The server has to support worker deployments (1.28 and later), and a worker of this version has to run.',
    cause: error,
  });
}
