import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFile } from '../activities/package-file.js';
import { exitCodeFor, NibbleflowError } from '../contracts/errors.js';
import { qualityArguments } from './quality/quality-arguments.js';
import { qualityMarkdown } from './quality/quality-report.js';
import { readProtocol } from './quality/read-protocol.js';
import { readResults, writeResult } from './quality/recipe-result.js';
import { runQuality } from './quality/run-quality.js';

/**
 * What the shipped folders of recipes are worth under a fixed protocol, beside plain rounding and what others reach there.
 * A recipe's result is a file of its own in bench/results/quality; the table, on stdout and in bench/results/quality.md, is made from
 * all of them. Stages and evaluations are kept in the store: an interrupted run goes on. Fewer pictures, or rounded weights
 * only, are for a look: their results stay in the store's folder.
 * `npm run bench:quality [-- recipe … --set path=value --samples N --threads N --before-only --quick
 *   --no-plain --no-before --table]`
 */
async function main(): Promise<void> {
  const { tableOnly, ...options } = qualityArguments(process.argv.slice(2));
  const protocolFolder = packageFile('bench/protocols/emoji-t2i-256');
  const store = packageFile('.nibbleflow/bench');
  const { published, allPrompts } = readProtocol(protocolFolder, 2);
  const samples = options.samples ?? allPrompts.length;
  const forRecord = samples === allPrompts.length && !options.beforeOnly;
  const folder = forRecord ? packageFile('bench/results/quality') : join(store, 'looks');
  if (!tableOnly) {
    const date = new Date().toISOString().slice(0, 10);
    const source = packageFile('models/zoo/emoji-t2i');
    await runQuality({ ...options, protocolFolder, source, store, date, cwd: process.cwd() }, (result) =>
      writeResult(folder, result),
    );
  }
  const [first, ...rest] = readResults(folder, samples);
  if (first === undefined) throw new NibbleflowError('InvalidInput', 'there is no result yet', { where: folder });
  const markdown = qualityMarkdown({ results: [first, ...rest], published });
  console.log(markdown);
  if (!forRecord) return;
  writeFileSync(packageFile('bench/results/quality.md'), markdown);
  console.error('written: bench/results/quality.md');
}

try {
  await main();
} catch (error) {
  if (!(error instanceof NibbleflowError)) throw error;
  console.error([error.message, error.where, error.fix].filter((part) => part !== undefined).join('\n'));
  process.exitCode = exitCodeFor(error.kind);
}
