import type { MetricCounter, MetricHistogram, MetricMeter } from '@temporalio/common';
import type { RunEvent, RunFacts, RunLogOwner } from './run-log.js';

/**
 * What is counted of stages, beside the metrics of the Temporal SDK and through the same meter, so that one endpoint serves
 * both. Everything is derived from the events of the runs' logs.
 */
export class StageMetrics {
  private readonly stages: MetricCounter;
  private readonly seconds: MetricHistogram;
  private readonly checkpoints: MetricCounter;
  private readonly checkpointBytes: MetricCounter;
  private readonly engines: MetricCounter;
  private readonly halvings: MetricCounter;
  private readonly leaseWaits: MetricHistogram;

  constructor(meter: MetricMeter) {
    const counter = (name: string, text: string, unit?: string) =>
      meter.createCounter(`nibbleflow_${name}`, unit, text);
    this.stages = counter('stages', 'stages that ended, by stage, outcome and kind of failure');
    this.seconds = meter.createHistogram('nibbleflow_stage_seconds', 'float', 's', 'computing time of finished stages');
    this.checkpoints = counter('checkpoints', 'checkpoints written');
    this.checkpointBytes = counter('checkpoint_bytes', 'bytes of checkpoints written', 'By');
    this.engines = counter('engines', 'engine processes started, and killed or found dead');
    this.halvings = counter('micro_batch_halvings', 'attempts with smaller batches, after memory ran out');
    this.leaseWaits = meter.createHistogram('nibbleflow_lease_wait_seconds', 'float', 's', 'waits for leased devices');
  }

  /** For RunLogs' `observers`. */
  readonly observe = ({ stage }: RunLogOwner, event: RunEvent, facts: RunFacts): void => {
    OBSERVERS[event]?.(this.recorders(), stage, facts);
  };

  private recorders(): Recorders {
    return {
      ended: (stage, outcome, kind = '') => this.stages.add(1, { stage, outcome, kind }),
      seconds: (stage, seconds) => this.seconds.record(seconds, { stage }),
      checkpoint: (stage, bytes) => {
        this.checkpoints.add(1, { stage });
        this.checkpointBytes.add(bytes, { stage });
      },
      engine: (what) => this.engines.add(1, { what }),
      halved: (stage) => this.halvings.add(1, { stage }),
      waited: (device, seconds) => this.leaseWaits.record(seconds, { device }),
    };
  }
}

interface Recorders {
  readonly ended: (stage: string, outcome: 'run' | 'reused' | 'failed' | 'stopped', kind?: string) => void;
  readonly seconds: (stage: string, seconds: number) => void;
  readonly checkpoint: (stage: string, bytes: number) => void;
  readonly engine: (what: 'started' | 'lost') => void;
  readonly halved: (stage: string) => void;
  readonly waited: (device: string, seconds: number) => void;
}

const OBSERVERS: Partial<Record<RunEvent, (to: Recorders, stage: string, facts: RunFacts) => void>> = {
  'stage-finished': (to, stage, facts) => {
    to.ended(stage, 'run');
    to.seconds(stage, Number(facts.seconds));
  },
  'stage-reused': (to, stage) => to.ended(stage, 'reused'),
  'stage-failed': (to, stage, facts) => to.ended(stage, 'failed', String(facts.kind)),
  'stage-stopped': (to, stage, facts) => to.ended(stage, 'stopped', String(facts.why)),
  'checkpoint-written': (to, stage, facts) => to.checkpoint(stage, Number(facts.sizeBytes)),
  'engine-started': (to) => to.engine('started'),
  'engine-ended': (to) => to.engine('lost'),
  'micro-batch-halved': (to, stage) => to.halved(stage),
  'lease-taken': (to, _, facts) => to.waited(String(facts.device), Number(facts.waitedSeconds)),
};
