import { z } from 'zod';
import { parseCron } from './cron.js';
import { nearestName } from './errors.js';
import { isTimezone } from './night-times.js';
import { protocolSchema } from './protocol.js';
import { computeSchema } from './stages.js';

/**
 * Nightly evaluations: what temporal.config.ts says of them, and what a Temporal Schedule of ours is made with.
 */

/** Wire format: the workflow, and the ids of its schedules and runs. */
export const NIGHT_WORKFLOW = 'nightlyEvaluation';
export const NIGHT_PREFIX = 'nibbleflow/night/';

/** What the hook can be told of. */
export const NIGHT_EVENTS = ['regression', 'failed', 'suspect', 'recovered', 'missed', 'skipped', 'finished'] as const;
export type NightEvent = (typeof NIGHT_EVENTS)[number];

/** Names end up in ids, paths and tables. */
const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a name has letters, digits, dots, dashes and underscores (64 at most)');
const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'the name of an environment variable');

const cron = z.string().superRefine((text, context) => {
  const found = parseCron(text);
  if (typeof found === 'string') context.addIssue({ code: 'custom', message: found });
});

const timezone = z.string().superRefine((zone, context) => {
  if (isTimezone(zone)) return;
  const nearest = nearestName(zone, Intl.supportedValuesOf('timeZone'));
  const hint = nearest === undefined ? 'names look like Europe/Berlin' : `did you mean ${nearest}?`;
  context.addIssue({ code: 'custom', message: `there is no time zone ${zone}; ${hint}` });
});

const webhookUrl = z.string().superRefine((text, context) => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    context.addIssue({ code: 'custom', message: 'an http or https address' });
  } else if (url.username !== '' || url.password !== '') {
    context.addIssue({
      code: 'custom',
      message: 'addresses with credentials belong in an environment variable: urlEnv',
    });
  }
});

/**
 * How a night is told of. Secrets are never here, since all of this is kept in the server's history: environment variables of the
 * worker are named instead.
 */
export const notifySchema = z
  .strictObject({
    webhook: z
      .strictObject({
        url: webhookUrl.nullable().default(null),
        urlEnv: variable
          .nullable()
          .default(null)
          .describe('variable that holds the address, when the address is a secret'),
        secretEnv: variable.describe('variable that holds the key which bodies are signed with'),
      })
      .refine(({ url, urlEnv }) => (url === null) !== (urlEnv === null), 'give url or urlEnv, one of them')
      .nullable()
      .default(null),
    command: z
      .array(z.string())
      .min(1)
      .nullable()
      .default(null)
      .describe('program and arguments, run without a shell; the message comes on stdin as JSON'),
    on: z.array(z.enum(NIGHT_EVENTS)).default(['regression', 'failed', 'recovered', 'missed', 'skipped']),
  })
  .refine(({ webhook, command }) => webhook !== null || command !== null, 'give a webhook or a command');
export type Notify = z.output<typeof notifySchema>;

/** The rule of evaluation/nights/judge-score.ts. */
export const baselineSchema = z.strictObject({
  lag: z
    .number()
    .int()
    .min(3)
    .max(100)
    .default(3)
    .describe('latest nights, the judged one included, that are not in the baseline'),
  window: z.number().int().min(1).max(1000).default(14).describe('nights that the median is of'),
  minimum: z.number().int().min(1).max(1000).default(3).describe('nights in the baseline before anything is judged'),
  ratio: z.number().min(0).max(10).default(0.05).describe('worse by this share of the baseline, and …'),
  absolute: z
    .record(z.string(), z.number().min(0))
    .default({})
    .describe('… by this much, by metric; metrics that are not named keep their default'),
  since: z.iso
    .date()
    .nullable()
    .default(null)
    .describe('nights before this day are not in the baseline: how a change is accepted'),
});
export type BaselineSettings = z.output<typeof baselineSchema>;

export const OVERLAPS = ['skip', 'buffer-one', 'buffer-all', 'cancel-other'] as const;
export type Overlap = (typeof OVERLAPS)[number];

const timing = {
  cron: cron.describe('minute, hour, day of month, month, day of week'),
  timezone: timezone.default('UTC').describe('whose clocks the cron expression is read by'),
  overlap: z.enum(OVERLAPS).default('skip').describe('what happens when a night is due and the one before still runs'),
  catchupHours: z
    .number()
    .min(0.05)
    .max(24 * 365)
    .default(24)
    .describe('a server that was down starts nights that are overdue by less'),
  jitterMinutes: z
    .number()
    .min(0)
    .max(720)
    .default(0)
    .describe('a random delay, so that machines do not start at once'),
  limitHours: z.number().min(0.01).max(240).default(20).describe('a night that takes longer is ended, and fails'),
};

const judging = {
  metrics: z
    .array(z.string())
    .min(1)
    .default(['psnr', 'frechet', 'kid', 'clip-score'])
    .describe('metrics that are judged and drawn; those that an evaluation has not are left out'),
  baseline: baselineSchema.prefault({}),
  notify: notifySchema.nullable().default(null),
};

const pipelineSchema = z.strictObject({
  name: name.optional().describe('default: the name of the folder'),
  folder: z.string().min(1).describe('relative to temporal.config.ts'),
  against: z.string().min(1).optional().describe('the float pipeline (default: the bundled one it was made from)'),
  reference: z.string().min(1).optional().describe('pictures, or a statistics file'),
});

export const nightConfigSchema = z.strictObject({
  ...timing,
  pipelines: z.array(pipelineSchema).min(1).max(32),
  protocol: z.string().min(1).default('standard').describe('built-in name, or a file'),
  samples: z.number().int().min(2).max(50_000).optional(),
  device: computeSchema.shape.device.unwrap().optional().describe('default: devices.default'),
  threads: computeSchema.shape.threads.optional().describe('default: devices.threads, else all cores of the worker'),
  out: z.string().min(1).optional().describe('folder of the reports; default: nights in the state folder'),
  ...judging,
});
export type NightConfig = z.output<typeof nightConfigSchema>;

/** The part of temporal.config.ts. */
export const nightsSchema = z.record(name, nightConfigSchema).default({});

/** What `nightlyEvaluation` is started with: the first argument of the schedule's action. Folders are looked at when it runs. */
export const nightSpecSchema = z.strictObject({
  schemaVersion: z.literal(1),
  name,
  /** The temporal.config.ts that declares it: nights of other files are not touched. */
  owner: z.string(),
  ...timing,
  // Checked where they are read from a file: what a machine knows of time zones decides nothing in a workflow.
  cron: z.string(),
  timezone: z.string(),
  pipelines: z
    .array(
      z.strictObject({ name, folder: z.string(), against: z.string().nullable(), reference: z.string().nullable() }),
    )
    .min(1)
    .max(32),
  protocol: protocolSchema,
  compute: z.strictObject({ device: computeSchema.shape.device, threads: computeSchema.shape.threads.nullable() }),
  /** Absolute: a folder a night, in it one for each pipeline. */
  out: z.string(),
  ...judging,
});
export type NightSpec = z.output<typeof nightSpecSchema>;
