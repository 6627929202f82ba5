import { writeFileSync } from 'node:fs';
import { convolutionFormsTable } from './autodiff/convolution-forms.js';
import { stepArguments } from './autodiff/step-arguments.js';
import { optionLines, stepLines } from './autodiff/step-report.js';
import { machineLine } from './quality/machine-line.js';

/**
 * What a training step of the zoo's UNet costs: against torch on the same threads, with each of the settings that save
 * memory, and what each form of a convolution's gradients costs. Run from the repository after a build:
 * `npm run bench:autodiff [-- step options forms --batch 8 --threads 1 --rounds 15 --python FILE --out FILE]`; torch, onnx
 * and numpy of that Python are the other side. Rounds are interleaved and medians printed; on a machine with other work,
 * compare processor times.
 */
const SECTIONS = {
  step: { title: 'Forward and backward of mean(output²), all layer weights', lines: stepLines },
  options: { title: 'What saves memory, and what it costs', lines: optionLines },
  forms: {
    title: 'Convolution gradients: processor time relative to the convolution (* is the form that is chosen)',
    lines: ({ threads, rounds }: { threads: number; rounds: number }) => convolutionFormsTable(threads, rounds),
  },
} as const;

const settings = stepArguments(process.argv.slice(2), Object.keys(SECTIONS));
const report = [
  `# bench:autodiff, batch ${settings.batch}, ${settings.rounds} rounds`,
  '',
  machineLine(settings.threads),
];
for (const [name, { title, lines }] of Object.entries(SECTIONS)) {
  if (settings.only.length > 0 && !settings.only.includes(name)) continue;
  const found = await lines(settings);
  report.push('', `## ${title}`, '', ...found.map((line) => `- ${line}`));
}
console.log(report.join('\n'));
if (settings.out !== undefined) writeFileSync(settings.out, `${report.join('\n')}\n`);
