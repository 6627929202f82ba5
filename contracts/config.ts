import { z } from 'zod';
import { nightsSchema } from './nights.js';

/**
 * What the environment cannot say: the schema of temporal.config.ts. Connection settings (address, namespace, TLS, keys)
 * are not here: they come from the TOML profiles and TEMPORAL_* variables of the `temporal` CLI.
 */

const port = z.number().int().min(1).max(65_535);

const taskQueueSchema = (name: string, slots: number) =>
  z
    .strictObject({
      name: z.string().min(1).default(name).describe('name of the task queue on the server'),
      slots: z.number().int().min(1).max(64).default(slots).describe('activities that run at the same time'),
    })
    .prefault({});

export const configSchema = z.strictObject({
  stateDir: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('server database, logs and process ids; relative to the config file; NIBBLEFLOW_HOME goes before it'),
  store: z
    .strictObject({
      dir: z.string().min(1).nullable().default(null).describe('artifacts; null is `store` in the state folder'),
      url: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe(
          'where several machines share artifacts: s3://bucket/prefix?region=…&endpoint=…&pathStyle=true or file:///folder; `dir` is then a cache of it; NIBBLEFLOW_STORE goes before it; credentials come from AWS_* alone',
        ),
      keepDays: z
        .number()
        .int()
        .min(0)
        .default(30)
        .describe('`nibbleflow gc` keeps what was made or used in the last days'),
      keepRuns: z.number().int().min(0).default(10).describe('and all that the last runs named'),
    })
    .prefault({}),
  offline: z
    .boolean()
    .default(false)
    .describe('forbids every network use but Temporal and the store; --offline and NIBBLEFLOW_OFFLINE go before it'),
  taskQueues: z
    .strictObject({
      cpu: taskQueueSchema('nibbleflow-cpu', 2),
      gpu: taskQueueSchema('nibbleflow-gpu', 1),
    })
    .prefault({}),
  devServer: z
    .strictObject({
      port: port
        .nullable()
        .default(null)
        .describe('null: 7233, or the next free port; a number: exactly this one, an error when it is in use'),
      uiPort: port.nullable().default(null).describe('null: the port + 1000, or the next free port'),
      retentionDays: z.number().int().min(1).max(3650).default(90),
      idleMinutes: z
        .number()
        .min(0.05)
        .default(30)
        .describe('minutes without a running workflow and without a watching client until server and worker stop'),
    })
    .prefault({}),
  devices: z
    .strictObject({
      default: z.enum(['cpu', 'webgpu', 'cuda']).default('cpu'),
      threads: z.number().int().min(1).max(256).nullable().default(null).describe('null: all cores'),
      leased: z
        .array(z.enum(['cpu', 'webgpu', 'cuda']))
        .default(['webgpu', 'cuda'])
        .describe('devices that one stage at a time computes on, over all workers of the machine'),
      leaseDir: z
        .string()
        .min(1)
        .nullable()
        .default(null)
        .describe(
          'where leases are kept; the same for all workers that share a device; null: a folder of this user in the temporary folder',
        ),
    })
    .prefault({}),
  worker: z
    .strictObject({
      graceSeconds: z
        .number()
        .min(4)
        .max(3600)
        .default(30)
        .describe('a worker that is stopped ends within this; stages write a checkpoint at their next step'),
      versioning: z
        .strictObject({
          deployment: z.string().min(1).describe('name of the worker deployment on the server'),
          buildId: z
            .string()
            .regex(/^[\w-][\w.-]*$/)
            .nullable()
            .default(null)
            .describe('this version; null: the version of nibbleflow and a digest of its workflows'),
        })
        .nullable()
        .default(null)
        .describe('runs stay with the version of the workers that they were started on; null: any worker does'),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      port: port.nullable().default(null).describe('Prometheus metrics of a worker at /metrics; null: none'),
      bind: z.string().min(1).default('127.0.0.1').describe('the address they are served on; 0.0.0.0 for all networks'),
    })
    .prefault({}),
  telemetry: z
    .strictObject({
      otlpUrl: z
        .url({ protocol: /^https?$/ })
        .nullable()
        .default(null)
        .describe(
          'an OpenTelemetry collector that gets a trace of each run (OTLP over HTTP); null: nobody is told anything',
        ),
    })
    .prefault({}),
  nights: nightsSchema.describe('nightly evaluations by name; `nibbleflow schedule apply` makes them so'),
});

/** temporal.config.ts with every default filled in. */
export type Config = z.output<typeof configSchema>;
export type ConfigInput = z.input<typeof configSchema>;

/** Types temporal.config.ts: `export default defineConfig({ … })`. Values are checked when the file is loaded. */
export function defineConfig(config: ConfigInput): ConfigInput {
  return config;
}
