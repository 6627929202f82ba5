import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { withFreshHome } from './operations/fresh-home.js';
import { idleLines } from './operations/idle-memory.js';
import { overheadLines } from './operations/overhead.js';
import { queuedLines } from './operations/queued-runs.js';
import { workerLines } from './operations/two-workers.js';
import { machineLine } from './quality/machine-line.js';

/**
 * What durability costs, on a server, a worker and a store of the bench's own. Run from the repository after a build:
 * `npm run bench:operations [-- idle overhead queued workers --pipeline FOLDER --runs 200 --out FILE]`.
 */
const SECTIONS = {
  idle: { title: 'Memory of an idle server and worker', lines: idleLines },
  overhead: { title: 'Orchestration overhead of one run', lines: overheadLines },
  queued: { title: 'Short runs queued at once', lines: queuedLines },
  workers: { title: 'Sampling by two workers, one thread each', lines: workerLines },
} as const;

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { pipeline: text, runs: text, out: text },
});
const settings = {
  pipeline: values.pipeline ?? 'models/zoo/emoji-t2i',
  runs: Number(values.runs ?? '200'),
};
const report = ['# bench:operations', '', machineLine(1)];
for (const [name, { title, lines }] of Object.entries(SECTIONS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const found = await withFreshHome((home) => lines(settings, home));
  report.push('', `## ${title}`, '', ...found.map((line) => `- ${line}`));
}
console.log(report.join('\n'));
if (values.out !== undefined) writeFileSync(values.out, `${report.join('\n')}\n`);
process.exit();
