import { Command, Option } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import type { CommandAction } from '../command-result.js';
import { addExtractorOptions, RESIZE_MODES } from '../extractor-options.js';
import { outputOption, repeatable } from '../run-options.js';
import type { EvaluateOptions } from '../start-evaluation.js';

interface Options extends EvaluateOptions {
  readonly selfTest?: boolean;
  readonly extractor?: string;
  readonly resize?: string;
}

/** `nibbleflow evaluate <pipeline-folder>`, and `nibbleflow evaluate --self-test`. */
export function evaluateCommand(run: CommandAction): Command {
  return new Command('evaluate')
    .description('sample a pipeline, measure how good its pictures are, and write a report')
    .argument('[pipeline-folder]', 'folder in the diffusers layout with ONNX models')
    .option(
      '--against <float-folder>',
      'the float pipeline: same-seed scores, and distances to its pictures (default: the bundled one it was made from)',
    )
    .option('--reference <folder|file>', 'pictures, or a statistics file (.npz, .safetensors), to measure against too')
    .option(
      '--protocol <name|file>',
      'what decides the numbers: quick, standard, full, or a YAML or JSON file',
      'standard',
    )
    .option('--samples <n>', 'pictures; part of the name of every score')
    .addOption(repeatable('--set <path=value>', 'change one setting of the protocol, e.g. settings.kidSubsets=50'))
    .option('--extractor <name|folder>', 'what looks at the pictures; `nibbleflow extractor list` names them')
    .addOption(new Option('--resize <mode>', 'how pictures get its size').choices(RESIZE_MODES))
    .option('--out <folder>', 'where report and scores go (default: ./<pipeline>-evaluation)')
    .option('--device <device>', 'cpu, webgpu or cuda (default: temporal.config.ts, else cpu)')
    .option('--threads <n>', 'threads of the engine (default: all cores)')
    .option('--detach', 'start the evaluation and return')
    .option('--self-test', 'check on this machine what evaluation promises, and evaluate nothing')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExamples:\n  nibbleflow evaluate ./emoji-t2i-w4a4 --against ./emoji-t2i\n  nibbleflow evaluate ./my-pipeline --reference ./real --samples 10000 --output json\n  nibbleflow evaluate --self-test',
    )
    .action((folder: string | undefined, options: Options) =>
      run(async () => {
        if (options.selfTest === true) return selfTest(options);
        if (folder === undefined) {
          throw new NibbleflowError('InvalidInput', 'there is no pipeline to evaluate', {
            fix: 'Give its folder, or --self-test.',
          });
        }
        const { startEvaluation } = await import('../start-evaluation.js');
        return startEvaluation(folder, { ...options, set: [...settingsOf(options), ...options.set] });
      }),
    );
}

/** Options that stand for settings of the protocol. */
function settingsOf({ extractor, resize }: Options): string[] {
  return [
    ...(extractor === undefined ? [] : [`extractor=${extractor}`]),
    ...(resize === undefined ? [] : [`resize=${resize}`]),
  ];
}

async function selfTest({ extractor, resize, threads, output }: Options) {
  const defaults = addExtractorOptions(new Command()).opts();
  const { runEvaluationSelfTest } = await import('../evaluation-self-test.js');
  return runEvaluationSelfTest({
    extractor: extractor ?? String(defaults.extractor),
    resize: RESIZE_MODES.find((mode) => mode === resize) ?? 'extractor',
    ...(threads === undefined ? {} : { threads }),
    output: output === 'text' ? 'text' : 'json',
  });
}
