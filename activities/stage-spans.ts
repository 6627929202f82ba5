import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { RunEvent, RunFacts, RunLogOwner } from './run-log.js';

/**
 * OpenTelemetry traces of runs, made from the events of their logs: a trace for each run, a span for each attempt of a stage that
 * computed, with how it ended; checkpoints and lease waits are events of the span. Sent as OTLP over HTTP in JSON
 * (opentelemetry.io/docs/specs/otlp), to a collector that the configuration names, and to nobody without.
 */

const FLUSH_MS = 5_000;
const SEND_TIMEOUT_MS = 5_000;
/** Spans that wait while the collector does not answer; older ones are dropped. */
const MOST_WAITING = 1_000;
/** Events of a span; checkpoints of days are many. */
const MOST_EVENTS = 100;

const KIND_INTERNAL = 1;
const STATUS = { ok: 1, error: 2 } as const;

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly doubleValue: number };
}

interface OpenSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly startedAt: number;
  readonly attributes: Attribute[];
  readonly events: { readonly timeUnixNano: string; readonly name: string; readonly attributes: Attribute[] }[];
}

const ENDS: Partial<Record<RunEvent, keyof typeof STATUS | 'unset'>> = {
  'stage-finished': 'ok',
  'stage-failed': 'error',
  'stage-stopped': 'unset',
};

/** Collects spans and sends them every few seconds. A collector that does not answer holds nobody up. */
export class StageSpans {
  private readonly open = new Map<string, OpenSpan>();
  private readonly ended: object[] = [];
  private readonly timer: NodeJS.Timeout;

  /** @param url of the collector, as OTEL_EXPORTER_OTLP_ENDPOINT: `/v1/traces` is added @param version of this package */
  constructor(
    private readonly url: string,
    private readonly version: string,
  ) {
    this.timer = setInterval(() => void this.flush(), FLUSH_MS);
    this.timer.unref();
  }

  /** For RunLogs' `observers`. */
  readonly observe = (owner: RunLogOwner, event: RunEvent, facts: RunFacts): void => {
    const key = `${owner.runId}/${owner.activityId}/${owner.attempt}`;
    if (event === 'stage-started') this.open.set(key, spanOf(owner, Date.now()));
    const span = this.open.get(key);
    if (span === undefined) return;
    const end = ENDS[event];
    if (end === undefined) {
      if (event !== 'stage-started' && span.events.length < MOST_EVENTS) {
        span.events.push({ timeUnixNano: nanos(Date.now()), name: event, attributes: attributesOf(facts) });
      }
      return;
    }
    this.open.delete(key);
    this.ended.push(finished(span, end, facts));
    if (this.ended.length > MOST_WAITING) this.ended.shift();
  };

  /** Sends what has ended; what cannot be sent is tried again. */
  async flush(): Promise<void> {
    const spans = this.ended.splice(0);
    if (spans.length === 0) return;
    const resource = {
      attributes: attributesOf({
        'service.name': 'nibbleflow',
        'service.version': this.version,
        'host.name': hostname(),
      }),
    };
    const body = JSON.stringify({
      resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'nibbleflow' }, spans }] }],
    });
    const isSent = await fetch(`${this.url.replace(/\/$/, '')}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
      signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
    }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (!isSent) this.ended.unshift(...spans.slice(0, MOST_WAITING - this.ended.length));
  }

  /** Sends the rest and stops. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.flush();
  }
}

function spanOf({ run, runId, stage, activityId, attempt }: RunLogOwner, startedAt: number): OpenSpan {
  return {
    name: stage,
    traceId: createHash('sha256').update(runId).digest('hex').slice(0, 32),
    spanId: randomBytes(8).toString('hex'),
    startedAt,
    attributes: attributesOf({ 'nibbleflow.run': run, 'nibbleflow.run_id': runId, stage, activityId, attempt }),
    events: [],
  };
}

function finished(
  { startedAt, attributes, ...span }: OpenSpan,
  end: keyof typeof STATUS | 'unset',
  facts: RunFacts,
): object {
  return {
    ...span,
    kind: KIND_INTERNAL,
    startTimeUnixNano: nanos(startedAt),
    endTimeUnixNano: nanos(Date.now()),
    attributes: [...attributes, ...attributesOf(facts)],
    status: end === 'unset' ? {} : { code: STATUS[end], message: end === 'error' ? String(facts.kind) : '' },
  };
}

function nanos(milliseconds: number): string {
  return `${BigInt(Math.round(milliseconds)) * 1_000_000n}`;
}

function attributesOf(facts: RunFacts): Attribute[] {
  return Object.entries(facts).map(([key, value]) => ({
    key,
    value:
      typeof value === 'number'
        ? { doubleValue: value }
        : { stringValue: typeof value === 'string' ? value : JSON.stringify(value ?? null) },
  }));
}
