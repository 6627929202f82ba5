import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { runLogFiles } from '../../activities/run-log.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';
import { CliHome } from './cli-home.js';

let home: CliHome | undefined;
afterEach(() => home?.close());

/** As small as a run gets. */
const RECIPE = {
  name: 'measured',
  sampling: { steps: 2 },
  calibration: { trajectories: 4, timesteps: 2 },
  evaluation: { samples: 2, timestepPairs: 16, beforeFinetuning: false },
  finetuning: { enabled: false },
};

interface Span {
  readonly name: string;
  readonly traceId: string;
}

/** An OpenTelemetry collector that keeps what it gets. */
async function startCollector(): Promise<{ url: string; spans: () => Span[]; close: () => void }> {
  const found: Span[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const { resourceSpans } = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] };
      found.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)));
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, spans: () => found, close: () => server.close() };
}

/** Value of the sample whose labels contain all of `labels`. */
function sampleOf(text: string, name: string, labels: Readonly<Record<string, string>>): number | undefined {
  for (const line of text.split('\n')) {
    const [, found, inside = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (found !== name) continue;
    if (Object.entries(labels).every(([key, wanted]) => inside.includes(`${key}="${wanted}"`))) return Number(value);
  }
  return undefined;
}

it('serves the metrics of the SDK and of stages on the configured port, sends traces where it is told to, and keeps a log of the run', async () => {
  home = await CliHome.open(RECIPE);
  const port = await anyFreePort();
  const file = join(home.folder, 'temporal.config.ts');
  const collector = await startCollector();
  const telemetry = JSON.stringify({ otlpUrl: collector.url });
  const settings = `export default { metrics: { port: ${port} }, telemetry: ${telemetry},`;
  const config = (await readFile(file, 'utf8')).replace('export default {', settings);
  await writeFile(file, config);
  const first = await home.quantize();
  await home.quantize('--out', join(home.folder, 'again'));
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const count = (labels: Readonly<Record<string, string>>) => sampleOf(text, 'nibbleflow_stages_total', labels) ?? 0;
  expect(count({ stage: 'sample', outcome: 'run' })).toBe(1);
  expect(count({ stage: 'sample', outcome: 'reused' })).toBe(1);
  expect(count({ stage: 'report', outcome: 'run' })).toBe(2);
  expect(sampleOf(text, 'nibbleflow_stage_seconds_count', { stage: 'sample' })).toBe(1);
  expect(sampleOf(text, 'nibbleflow_stage_seconds_sum', { stage: 'sample' })).toBeGreaterThan(0);
  expect(sampleOf(text, 'nibbleflow_checkpoints_total', { stage: 'sample' })).toBeGreaterThan(0);
  expect(sampleOf(text, 'nibbleflow_checkpoint_bytes_total', { stage: 'sample' })).toBeGreaterThan(0);
  expect(sampleOf(text, 'nibbleflow_engines_total', { what: 'started' })).toBeGreaterThan(0);
  expect(text).toMatch(/^temporal_activity_schedule_to_start_latency\w*_count\{.*\} [1-9]/m);

  const lines = (await Promise.all(runLogFiles(home.home, first.workflowId).map((path) => readFile(path, 'utf8'))))
    .join('')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; stage: string; startedAt?: number; endedAt?: number });
  const finished = lines.filter(({ event }) => event === 'stage-finished');
  const logged = new Set(finished.map(({ stage }) => stage));
  for (const { stage } of first.stages) expect(logged).toContain(stage);
  for (const { startedAt = 0, endedAt = 0 } of finished) expect(endedAt).toBeGreaterThanOrEqual(startedAt);

  // Stopping sends the spans that were not sent yet.
  await home.run('down');
  const spans = collector.spans();
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(2);
  expect(spans.filter(({ name }) => name === 'sample')).toHaveLength(1);
  expect(spans.filter(({ name }) => name === 'report')).toHaveLength(2);
  collector.close();
  // A worker whose port is taken is refused, and says which setting it is about.
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
  const other = await CliHome.open(RECIPE);
  try {
    const otherFile = join(other.folder, 'temporal.config.ts');
    const otherConfig = await readFile(otherFile, 'utf8');
    await writeFile(otherFile, otherConfig.replace('export default {', `export default { metrics: { port: ${port} },`));
    const { code } = await other.run(...other.quantizeArguments());
    expect(code).not.toBe(0);
    expect(await readFile(join(other.home, 'logs', 'worker.log'), 'utf8')).toContain(`metrics.port ${port}`);
  } finally {
    taken.close();
    await other.close();
  }
});
