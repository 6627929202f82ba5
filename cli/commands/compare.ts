import { existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { ExitCode } from '../../contracts/errors.js';
import { compareSides } from '../../evaluation/compare/compare-sides.js';
import { type ServerContext, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { writeComparisonGrid } from '../comparison-grid.js';
import { comparisonText } from '../comparison-text.js';
import { print, say } from '../console-output.js';
import { readComparedFolder } from '../read-compared-folder.js';
import { type ComparedRun, readComparedRun } from '../read-compared-run.js';

interface CompareOptions {
  readonly output: 'text' | 'md' | 'json';
  readonly grid?: string;
}

/** `nibbleflow compare <run|folder> <run|folder>` */
export function compareCommand(run: CommandAction): Command {
  return new Command('compare')
    .description('show what differs between two runs: settings, scores with intervals, size and time')
    .argument('<left>', 'output folder of quantize or evaluate, a scores.json, or a run id or its last part')
    .argument('<right>', 'the same; differences are right minus left')
    .addOption(new Option('--output <format>', 'what stdout gets').choices(['text', 'md', 'json']).default('text'))
    .option('--grid <file>', 'write the sample pictures of both sides beside each other as a PNG')
    .addHelpText(
      'after',
      '\nScores are subtracted only where their n, extractor, resize, seed, prompts and reference are equal; others are\nshown with the reason. Examples:\n  nibbleflow compare ./emoji-w4a4 ./emoji-best\n  nibbleflow compare ./emoji-w4a4 a1b2c3d4 --output md --grid both.png',
    )
    .action((left: string, right: string, options: CompareOptions) => run(() => compare([left, right], options)));
}

async function compare(names: readonly [string, string], { output, grid }: CompareOptions): Promise<ExitCode> {
  const [left, right] = await sidesOf(names);
  const comparison = compareSides(left.side, right.side);
  if (grid !== undefined) await writeComparisonGrid([left.out, right.out], grid);
  print(output === 'json' ? JSON.stringify(comparison, null, 2) : comparisonText(comparison, output));
  if (grid !== undefined) say(`Sample pictures of ${comparison.left} (left) and ${comparison.right} (right): ${grid}`);
  return 0;
}

/** What exists is a folder or a file; anything else is a run, and only then a server is asked. */
async function sidesOf(names: readonly [string, string]): Promise<[ComparedRun, ComparedRun]> {
  if (names.every(isPath)) return [await sideOf(names[0]), await sideOf(names[1])];
  return withServer(async (context) => [await sideOf(names[0], context), await sideOf(names[1], context)]);
}

async function sideOf(name: string, context?: ServerContext): Promise<ComparedRun> {
  if (context === undefined || isPath(name)) return { side: await readComparedFolder(name), out: name };
  return readComparedRun(context, name);
}

function isPath(name: string): boolean {
  return existsSync(name) || /^[./~]|[\\]|\.json$/.test(name);
}
