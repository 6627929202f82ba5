import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { packageFile } from '../activities/package-file.js';
import { exitCodeFor, NibbleflowError } from '../contracts/errors.js';
import { qualityArguments } from './quality/quality-arguments.js';
import { qualityMarkdown } from './quality/quality-report.js';
import { runQuality } from './quality/run-quality.js';

/**
 * What the shipped folders of recipes are worth under a fixed protocol, before and after finetuning, beside what others reach
 * there. Prints markdown on stdout and writes it, with every picture's PSNR as JSON, to bench/results.
 * `npm run bench:quality [-- recipe … --samples N --threads N --before-only --quick]`
 */
async function main(): Promise<void> {
  const options = qualityArguments(process.argv.slice(2));
  const { report, details } = await runQuality({
    ...options,
    protocolFolder: packageFile('bench/protocols/emoji-t2i-256'),
    source: packageFile('models/zoo/emoji-t2i'),
    store: packageFile('.nibbleflow/bench'),
    date: new Date().toISOString().slice(0, 10),
    cwd: process.cwd(),
  });
  const markdown = qualityMarkdown(report);
  console.log(markdown);
  const folder = packageFile('bench/results');
  const kind = `${report.isWhole ? '' : '-part'}${options.beforeOnly ? '-before' : ''}`;
  const file = join(folder, `quality-${report.date}${kind}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${file}.md`, markdown);
  writeFileSync(`${file}.json`, `${JSON.stringify({ ...report, details }, null, 1)}\n`);
  console.error(`written: bench/results/${basename(file)}.md and .json`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof NibbleflowError)) throw error;
  console.error([error.message, error.where, error.fix].filter((part) => part !== undefined).join('\n'));
  process.exitCode = exitCodeFor(error.kind);
}
