import { describeNamespace } from '../server/namespace.js';
import { searchAttributeCommand, searchAttributeState } from '../server/search-attributes.js';
import { type Check, type DoctorContext, type DoctorLine, ok, type ReachedServer } from './check.js';

/** A week of nights must outlive their histories' retention, or `runs` and the UI forget what `trend` compares. */
const LEAST_RETENTION_DAYS = 7;

/** Numbers of the kinds of task queue on the wire (temporal.api.enums.v1.TaskQueueType). */
const WORKFLOW_TASKS = 1;
const ACTIVITY_TASKS = 2;

/** A configured server answers; of ours it is enough that it can be started. */
export const server: Check = {
  name: 'server',
  run: async ({ server, serverFailure, settings }) => {
    if (server === null && settings.address === null) return [ok('none of ours runs now: the first command starts it')];
    if (server === null) {
      const fix = 'Start it, correct TEMPORAL_ADDRESS, TLS or API key (`nibbleflow config show --origin`).';
      return [{ state: 'failed', what: `${settings.address}: ${serverFailure ?? 'no answer'}`, fix }];
    }
    const { serverVersion } = await server.client.workflowService.getSystemInfo({});
    const tls = settings.options.tls ? ', TLS' : '';
    return [ok(`${server.address} answers: version ${serverVersion}${tls}${server.own ? ', started by us' : ''}`)];
  },
};

/** The namespace is there and keeps histories long enough. */
export const namespace: Check = {
  name: 'namespace',
  run: reached(async (server, { loaded }) => {
    const found = await describeNamespace(server, server.namespace);
    if (found === null) {
      const fix = 'nibbleflow setup --create-namespace    (or set TEMPORAL_NAMESPACE to one that exists)';
      return [{ state: 'failed', what: `${server.namespace} does not exist`, fix }];
    }
    const what = `${server.namespace}, keeps ended runs for ${found.retentionDays} days`;
    const wanted = loaded.config.devServer.retentionDays;
    if (found.retentionDays >= Math.min(wanted, LEAST_RETENTION_DAYS)) return [ok(what)];
    return [{ state: 'warning', what, fix: `nibbleflow setup    (raises it to ${wanted} days)` }];
  }),
};

/** Our search attributes exist, with our types. */
export const searchAttributes: Check = {
  name: 'search attributes',
  run: reached(async (server) => {
    const { missing, mistyped } = await searchAttributeState(server, server.namespace);
    if (mistyped.length > 0) {
      const fix = `temporal operator search-attribute remove --namespace ${server.namespace} ${mistyped.map((name) => `--name ${name}`).join(' ')} && nibbleflow setup`;
      return [{ state: 'failed', what: `of another type than ours: ${mistyped.join(', ')}`, fix }];
    }
    if (missing.length === 0) return [ok('all there')];
    const fix = `nibbleflow setup    (or: ${searchAttributeCommand(server.namespace, missing)})`;
    return [{ state: 'failed', what: `missing: ${missing.join(', ')}`, fix }];
  }),
};

/** Workers poll our task queues. */
export const workers: Check = {
  name: 'workers',
  run: reached(async (server, { loaded }) => {
    const { cpu, gpu } = loaded.config.taskQueues;
    const kinds = [
      { what: `${cpu.name} (workflows)`, name: cpu.name, taskQueueType: WORKFLOW_TASKS },
      { what: `${cpu.name} (activities)`, name: cpu.name, taskQueueType: ACTIVITY_TASKS },
      { what: `${gpu.name} (activities)`, name: gpu.name, taskQueueType: ACTIVITY_TASKS },
    ];
    return Promise.all(
      kinds.map(async ({ what, name, taskQueueType }) => {
        const taskQueue = { name };
        const answer = await server.client.workflowService.describeTaskQueue({
          namespace: server.namespace,
          taskQueue,
          taskQueueType,
        });
        const identities = [...new Set((answer.pollers ?? []).map(({ identity }) => identity ?? '?'))].sort();
        if (identities.length > 0) return ok(`${what}: ${identities.join(', ')}`);
        const fix = 'nibbleflow worker    (the next command that starts a run starts one too)';
        return { state: 'warning' as const, what: `${what}: nobody polls`, fix };
      }),
    );
  }),
};

/** A check that has nothing to say while no server answers. */
export function reached(
  look: (server: ReachedServer, context: DoctorContext) => Promise<Omit<DoctorLine, 'check'>[]>,
): Check['run'] {
  return async (context) => (context.server === null ? [] : look(context.server, context));
}
