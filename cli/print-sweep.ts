import type { SweepCell, SweepSummary } from '../contracts/sweep.js';

/** The end of a sweep for people: a row for each run, the Pareto front marked. */
export function sweepText(summary: SweepSummary, uiUrl: string | null): string {
  const rows = summary.cells.map((cell) => rowOf(cell, summary.front.includes(cell.name)));
  const table = [['', 'run', `PSNR (n = ${summary.samples})`, 'denoiser', 'smaller', 'work'], ...rows];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [
    ...lines,
    '',
    `* on the Pareto front: no other run is better, smaller and quicker to make at once`,
    `Output     ${summary.out}`,
    ...(summary.report === null ? [] : [`Page       ${summary.report}`]),
    ...(uiUrl === null ? [] : [`Run        ${uiUrl}`]),
  ].join('\n');
}

function rowOf(cell: SweepCell, onFront: boolean): string[] {
  const { name, headline, denoiserBytes: size, floatDenoiserBytes: float, workSeconds, message } = cell;
  if (headline === null) return ['', name, `failed: ${message.split('\n')[0] ?? ''}`, '', '', ''];
  return [
    onFront ? '*' : '',
    name,
    `${headline.psnrDb.toFixed(2)} dB`,
    size === null ? '' : `${(size / 1e6).toFixed(2)} MB`,
    size === null || float === null ? '' : `${(float / size).toFixed(2)}×`,
    workSeconds === null ? '' : `${(workSeconds / 60).toFixed(1)} min`,
  ];
}
