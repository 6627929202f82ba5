import { fixed } from './format-number.js';
import { type Html, html } from './html.js';
import type { LatencyData, LatencyRow } from './report-data.js';

/** Milliseconds of a call of the denoiser, with what ran; says of simulated arithmetic that its time means nothing. */
export function latencySection({ rows, batch }: LatencyData): Html | false {
  if (rows.length === 0) return false;
  const simulated = rows.filter((row) => row.simulated).map(({ label }) => label);
  return html`<h2>Latency</h2>
<div class="scroll"><table><thead><tr><th scope="col">Denoiser</th><th scope="col">Median, ms</th><th scope="col">Fastest to slowest, ms</th><th scope="col">Calls</th><th scope="col">Threads</th><th scope="col" class="text">Kernels that ran</th></tr></thead><tbody>
${rows.map(latencyRow)}</tbody></table></div>
<div class="notes"><p>One call with a batch of ${batch}, on this machine while this run went on.</p>${
    simulated.length > 0 &&
    html`<p>Of ${simulated.join(', ')} the low-bit arithmetic is simulated: integer codes in float products. That time is not the time of low-bit kernels, and nothing is claimed about speed.</p>`
  }</div>`;
}

function latencyRow({ label, medianMs, fastestMs, slowestMs, calls, threads, device, kernels }: LatencyRow): Html {
  return html`<tr><th scope="row">${label}</th><td>${fixed(medianMs, 2)}</td><td>${fixed(fastestMs, 2)} to ${fixed(slowestMs, 2)}</td><td>${calls}</td><td>${threads}, ${device}</td><td class="text">${kernels}</td></tr>
`;
}
