import type { OpenClient } from './connection.js';

/** gRPC's number for "there is no such thing". */
const NOT_FOUND = 5;
const SECONDS_PER_DAY = 24 * 3600;

/** A namespace of the server. */
export interface NamespaceFacts {
  /** Days for which the histories of ended runs are kept. */
  readonly retentionDays: number;
}

/** null when the server has no such namespace. Throws what the server answers otherwise. */
export async function describeNamespace(
  { client }: Pick<OpenClient, 'client'>,
  namespace: string,
): Promise<NamespaceFacts | null> {
  try {
    const { config } = await client.workflowService.describeNamespace({ namespace });
    return { retentionDays: Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) / SECONDS_PER_DAY };
  } catch (error) {
    if ((error as { code?: number }).code === NOT_FOUND) return null;
    throw error;
  }
}

/** Keeps histories for this long from now on. Throws what the server answers. */
export async function setRetention(
  { client }: Pick<OpenClient, 'client'>,
  namespace: string,
  days: number,
): Promise<void> {
  const workflowExecutionRetentionTtl = duration(days);
  await client.workflowService.updateNamespace({ namespace, config: { workflowExecutionRetentionTtl } });
}

/** Registers a namespace. It can be used a moment later: servers reread their list of namespaces. */
export async function createNamespace(
  { client }: Pick<OpenClient, 'client'>,
  namespace: string,
  days: number,
): Promise<void> {
  const workflowExecutionRetentionPeriod = duration(days);
  await client.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
}

/** The wire's seconds are a 64-bit integer, for which protobufjs takes numbers too. */
function duration(days: number): { seconds: never } {
  return { seconds: Math.round(days * SECONDS_PER_DAY) as never };
}
