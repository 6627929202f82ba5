import { setTimeout as sleep } from 'node:timers/promises';
import { NibbleflowError } from '../../contracts/errors.js';
import type { OpenClient } from './connection.js';
import { createNamespace, describeNamespace, setRetention } from './namespace.js';
import { addSearchAttributes, searchAttributeCommand, searchAttributeState } from './search-attributes.js';

/** Servers reread their list of namespaces every ten seconds by default. */
const NAMESPACE_TIMEOUT_MS = 60_000;

/** `done`: changed now; `unchanged`: it was so already; `refused`: we may not, the command is for an administrator. */
export interface SetupStep {
  readonly step: 'namespace' | 'retention' | 'search attributes';
  readonly state: 'done' | 'unchanged' | 'refused';
  readonly what: string;
  readonly command: string | null;
}

export interface SetupWishes {
  readonly namespace: string;
  /** Retention of less is raised to it; of more it is left alone. */
  readonly retentionDays: number;
  readonly createNamespace: boolean;
}

/**
 * Makes a server that is not ours ready for runs; a second time it changes nothing. Throws ServerUnavailable for a namespace
 * that is missing and not to be created.
 */
export async function setUpServer(open: OpenClient, wishes: SetupWishes): Promise<SetupStep[]> {
  const namespace = await namespaceStep(open, wishes);
  if (namespace.state === 'refused') return [namespace];
  return [namespace, await retentionStep(open, wishes), await attributesStep(open, wishes.namespace)];
}

async function namespaceStep(open: OpenClient, wishes: SetupWishes): Promise<SetupStep> {
  const { namespace, retentionDays } = wishes;
  if ((await describeNamespace(open, namespace)) !== null) {
    return { step: 'namespace', state: 'unchanged', what: `${namespace} exists`, command: null };
  }
  const command = `temporal operator namespace create --namespace ${namespace} --retention ${retentionDays}d`;
  if (!wishes.createNamespace) {
    throw new NibbleflowError('ServerUnavailable', 'the namespace does not exist', {
      where: namespace,
      fix: `Run \`nibbleflow setup --create-namespace\`, or: ${command}`,
    });
  }
  return orRefused('namespace', command, async () => {
    await createNamespace(open, namespace, retentionDays);
    await untilUsable(open, namespace);
    return `${namespace} created`;
  });
}

async function retentionStep(open: OpenClient, { namespace, retentionDays }: SetupWishes): Promise<SetupStep> {
  const step = 'retention';
  const before = (await describeNamespace(open, namespace))?.retentionDays ?? 0;
  if (before >= retentionDays) return { step, state: 'unchanged', what: `${before} days`, command: null };
  const command = `temporal operator namespace update --namespace ${namespace} --retention ${retentionDays}d`;
  return orRefused(step, command, async () => {
    await setRetention(open, namespace, retentionDays);
    return `${before} → ${retentionDays} days`;
  });
}

async function attributesStep(open: OpenClient, namespace: string): Promise<SetupStep> {
  const step = 'search attributes';
  const { missing, mistyped } = await searchAttributeState(open, namespace);
  if (mistyped.length > 0) {
    const names = mistyped.map((name) => `--name ${name}`).join(' ');
    const command = `temporal operator search-attribute remove --namespace ${namespace} ${names}`;
    return { step, state: 'refused', what: `of another type than ours: ${mistyped.join(', ')}`, command };
  }
  if (missing.length === 0) return { step, state: 'unchanged', what: 'all there', command: null };
  return orRefused(step, searchAttributeCommand(namespace, missing), async () => {
    await addSearchAttributes(open, namespace, missing);
    return `added ${missing.join(', ')}`;
  });
}

async function orRefused(step: SetupStep['step'], command: string, change: () => Promise<string>): Promise<SetupStep> {
  try {
    return { step, state: 'done', what: await change(), command: null };
  } catch (error) {
    const details = (error as { details?: string }).details;
    const what = details || (error instanceof Error ? error.message : String(error));
    return { step, state: 'refused', what, command };
  }
}

/** Returns when the namespace takes requests, not only exists. */
async function untilUsable(open: OpenClient, namespace: string): Promise<void> {
  const deadline = Date.now() + NAMESPACE_TIMEOUT_MS;
  for (;;) {
    try {
      await open.client.workflowService.countWorkflowExecutions({ namespace });
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(250);
    }
  }
}
