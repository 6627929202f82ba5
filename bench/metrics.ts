import { writeFileSync } from 'node:fs';
import { FEATURES } from './metrics/feature-files.js';
import { metricsArguments } from './metrics/metrics-arguments.js';
import { comparisonLines, scaleLines } from './metrics/metrics-report.js';
import { machineLine } from './quality/machine-line.js';

/**
 * What scores cost once features are there: Fréchet, KID, Inception score, precision and recall of 10,000 × 2,048 features, each
 * alone and all together, beside torch-fidelity on the same arrays and threads when a Python that has it is given. Run from the
 * repository: `npm run bench:metrics [-- --samples 10000 --threads 2 --rounds 3 --python FILE --scale --out FILE]`. `--scale`
 * streams 50,000 a side from files. Every measurement is a fresh process; reading features is counted with `--scale` only. Ours
 * computes more: an interval with every score, density and coverage beside precision and recall, float64 throughout. On a machine
 * with other work, compare processor times.
 */
const settings = metricsArguments(process.argv.slice(2));
const report = [
  `# bench:metrics, ${settings.samples} × ${FEATURES}, ${settings.rounds} rounds`,
  '',
  machineLine(settings.threads),
];
report.push('', '## Scores of features in memory', '');
report.push(...(await comparisonLines(settings)).map((line) => `- ${line}`));
if (settings.scale) {
  report.push('', '## Scores of features in files', '');
  report.push(...(await scaleLines(settings)).map((line) => `- ${line}`));
}
console.log(report.join('\n'));
if (settings.out !== undefined) writeFileSync(settings.out, `${report.join('\n')}\n`);
