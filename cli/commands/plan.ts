import { Command } from 'commander';
import type { ExitCode } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import type { QuantizationPlan } from '../../quantization/layer-plan.js';
import { scanMeasurements } from '../../quantization/sensitivity/plan-at-bits.js';
import { checkDevice } from '../check-device.js';
import type { CommandAction } from '../command-result.js';
import { print } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { prepareRun } from '../prepare-run.js';
import { addRunOptions, type RunOptions } from '../run-options.js';

/** `nibbleflow plan <pipeline-folder>`: what quantize would do and cost; starts no server and writes no output. */
export function planCommand(run: CommandAction): Command {
  const command = new Command('plan')
    .description('list every layer with its scheme, the coverage, bytes, and the expected time and memory')
    .argument('<pipeline-folder>', 'folder in the diffusers layout with ONNX models');
  return addRunOptions(command, 'w4a4').action((folder: string, options: RunOptions) =>
    run(() => showPlan(folder, options)),
  );
}

async function showPlan(folder: string, options: RunOptions): Promise<ExitCode> {
  const cwd = process.cwd();
  const loaded = await loadConfig(cwd);
  const { recipe, set: settings, device, threads } = options;
  const spec = await prepareRun({ folder, recipe, settings, device, threads }, loaded, cwd);
  await checkDevice(spec.compute);
  const [{ planRun }, { probeFolder }, { estimateRun }, { planText }] = await Promise.all([
    import('../plan-run.js'),
    import('../probe-folder.js'),
    import('../estimate-run.js'),
    import('../plan-text.js'),
  ]);
  const plan = await planRun(spec, loaded);
  const { enabled, phases } = spec.recipe.finetuning;
  const estimate = estimateRun(
    spec.recipe,
    await probeFolder(spec),
    enabled && phases.length > 0,
    scannedRows(plan, spec.recipe),
  );
  if (options.output === 'text') print([planText(plan, estimate), ...choiceNote(spec.recipe)].join('\n'));
  else if (options.output === 'json') print(JSON.stringify({ ...plan, estimate }, null, 2));
  else {
    for (const layer of plan.layers) print(JSON.stringify({ schemaVersion: 1, event: 'layer', ...layer }));
    const { layers: _, ...totals } = plan;
    print(JSON.stringify({ event: 'plan', ...totals, estimate }));
  }
  return 0;
}

/** The list shows what the run starts from when it chooses bits itself. */
function choiceNote({ mixedPrecision: { method } }: Recipe): string[] {
  return method === 'none'
    ? []
    : [`Bits       what the run starts from; it chooses them layer by layer from its scan (${method})`];
}

/** Rows of the denoiser that the sensitivity scan runs. */
function scannedRows(plan: QuantizationPlan, { sensitivity }: Recipe): number {
  return sensitivity.enabled ? scanMeasurements(plan, sensitivity.bits) * sensitivity.items : 0;
}
