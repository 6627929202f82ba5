import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { z } from 'zod';
import { EnginePool } from '../../activities/engine-pool.js';
import { RunLogs } from '../../activities/run-log.js';
import { type ActivityDeps, runStage, type StageContext } from '../../activities/stage-frame.js';
import { StageSpans } from '../../activities/stage-spans.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { NibbleflowError } from '../../contracts/errors.js';
import type { Stage } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number; readonly message?: string };
  readonly events: readonly { readonly name: string }[];
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue?: string } }[];
}

/** A collector that answers with `status`. */
let server: Server;
let status = 200;
const received: Span[] = [];
let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'nibbleflow-spans-'));
  received.length = 0;
  status = 200;
  server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      expect([request.method, request.url, request.headers['content-type']]).toEqual([
        'POST',
        '/v1/traces',
        'application/json',
      ]);
      if (status === 200) {
        const { resourceSpans } = JSON.parse(body) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] };
        received.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)));
      }
      response.writeHead(status).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function runner(spans: StageSpans) {
  const store = await LocalStore.open(join(folder, 'store'));
  const logs = new RunLogs(join(folder, 'logs'), { observers: [spans.observe] });
  let activity = 0;
  return (stage: Stage, runId: string, body: (context: StageContext) => Promise<{ summary: string }>) => {
    activity += 1;
    const owner = { run: `quantize/${runId}`, runId, activityId: String(activity), attempt: 1 };
    const deps: ActivityDeps = {
      ...{ store, engines: new EnginePool(), policies: FAILURE_POLICIES, facts: {}, logs },
      host: () => ({ run: runId, signal: new AbortController().signal, owner, heartbeat: () => undefined }),
    };
    return runStage(deps, { stage, version: 1, input: z.strictObject({}) }, {}, (_, context) => body(context));
  };
}

it('a run is one trace, an attempt of a stage a span that says how it ended; a collector that is away is caught up with', async () => {
  const spans = new StageSpans(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, '0.1.0');
  const run = await runner(spans);
  status = 503;
  await run('sample', 'one', async (context) => {
    await context.checkpoint.save(Uint8Array.of(1));
    return { summary: 'sampled' };
  });
  await spans.flush();
  expect(received).toEqual([]);
  status = 200;
  const failing = run('round', 'one', async () => {
    throw new NibbleflowError('EngineCrashed', 'gone');
  });
  await expect(failing).rejects.toThrow();
  await run('plan', 'two', async () => ({ summary: 'planned' }));
  // What is found in the store did not compute.
  await run('plan', 'two', async () => ({ summary: 'planned' }));
  await spans.close();
  expect(received.map(({ name, status: { code = 0 } }) => [name, code])).toEqual([
    ['sample', 1],
    ['round', 2],
    ['plan', 1],
  ]);
  const [sample, round, plan] = received;
  expect(sample?.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(sample?.spanId).toMatch(/^[0-9a-f]{16}$/);
  expect(round?.traceId).toBe(sample?.traceId);
  expect(plan?.traceId).not.toBe(sample?.traceId);
  expect(round?.status.message).toBe('EngineCrashed');
  expect(sample?.events.map(({ name }) => name)).toEqual(['checkpoint-written']);
  expect(sample?.attributes).toContainEqual({ key: 'nibbleflow.run', value: { stringValue: 'quantize/one' } });
  for (const span of received) {
    expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
  }
});
