import { refuseForeign } from '../activities/output-folder.js';
import type { ExitCode } from '../contracts/errors.js';
import { EVALUATE_WORKFLOW } from '../contracts/evaluation-activities.js';
import { checkDevice } from './check-device.js';
import { withServer } from './command-context.js';
import { type OutputFormat, say } from './console-output.js';
import { followSubmitted } from './follow-submitted.js';
import { loadConfig } from './load-config.js';
import { evaluationIdOf, prepareEvaluation } from './prepare-evaluation.js';
import { startWorkflow } from './submit-run.js';

/** Options of `nibbleflow evaluate`. */
export interface EvaluateOptions {
  readonly against?: string;
  readonly reference?: string;
  readonly protocol: string;
  readonly samples?: string;
  readonly set: readonly string[];
  readonly out?: string;
  readonly device?: string;
  readonly threads?: string;
  readonly detach?: boolean;
  readonly output: OutputFormat;
}

/** Checks everything that can be checked without a server, then starts (or finds) the evaluation and follows it. */
export async function startEvaluation(folder: string, options: EvaluateOptions): Promise<ExitCode> {
  const cwd = process.cwd();
  const { set: settings, detach, output, ...rest } = options;
  const spec = await prepareEvaluation({ folder, settings, ...rest }, await loadConfig(cwd), cwd);
  await refuseForeign(spec.out, 'evaluation');
  await checkDevice(spec.compute);
  if (spec.against === null) {
    say('No float pipeline: without --against there are no same-seed scores and no distances to float pictures.');
  } else if (rest.against === undefined) {
    say(`Against ${spec.against.path}, which ${spec.candidate.name} was made from.`);
  }
  for (const { text } of spec.notes) say(`Note: ${text}.`);
  return withServer(async ({ client, services, loaded }) => {
    const { candidate, against, protocol, compute } = spec;
    const run = await startWorkflow(client, services, loaded, {
      type: EVALUATE_WORKFLOW,
      workflowId: evaluationIdOf(spec),
      spec,
      summary: `evaluate ${candidate.name}, n = ${protocol.samples} (${protocol.name}, ${compute.device})`,
      details: `\`${candidate.path}\` against \`${against?.path ?? 'nothing'}\`, protocol ${spec.protocolDigest.slice(0, 12)}.`,
    });
    return followSubmitted(run, { detach, output });
  });
}
