import { NibbleflowError } from '../contracts/errors.js';
import type { Compute } from '../contracts/stages.js';
import { EngineExecutor } from './engine/engine-executor.js';
import { runSelfTest } from './engine/self-test.js';
import { type RunLog, SILENT_LOG } from './run-log.js';

/** A warm engine is closed when nobody used it for this long: its memory is worth more than the second it saves. */
const IDLE_MS = 60_000;

interface PooledEngine {
  readonly key: string;
  readonly executor: EngineExecutor;
  /** Kills the child when aborted. */
  readonly life: AbortController;
  timer: NodeJS.Timeout | undefined;
}

export interface EngineUse {
  readonly log?: RunLog;
  /** false: the engine ends with the work, so that it holds nothing of a device that others wait for. */
  readonly keepsWarm?: boolean;
}

/**
 * Engine children, each lent to one stage at a time and kept warm between stages. A stage that fails or is cancelled has
 * its child killed, so that nothing it left behind (sessions, residents, a running kernel) reaches another stage. The first
 * engine of a kind must pass the self-test: an onnxruntime that rewrites low-bit graphs into other arithmetic does no work.
 */
export class EnginePool {
  private readonly idle: PooledEngine[] = [];
  private readonly all = new Set<PooledEngine>();
  /** Kinds of engine whose first child has passed the self-test. */
  private readonly tested = new Set<string>();
  private closed = false;

  constructor(private readonly idleMs: number = IDLE_MS) {}

  /** Runs `work` with an engine. Aborting `signal` kills the child. Throws what `work` throws. */
  async use<T>(
    compute: Compute,
    signal: AbortSignal,
    work: (executor: EngineExecutor) => Promise<T>,
    { log = SILENT_LOG, keepsWarm = true }: EngineUse = {},
  ): Promise<T> {
    signal.throwIfAborted();
    const engine = await this.take(compute, log);
    const kill = (): void => engine.life.abort(signal.reason);
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
    try {
      const result = await work(engine.executor);
      signal.throwIfAborted();
      if (keepsWarm) this.giveBack(engine);
      else await this.discard(engine);
      return result;
    } catch (error) {
      await this.discard(engine);
      log.warn('engine-ended', `the engine of a stage that did not end well was killed`, {
        engine: engine.executor.pid,
      });
      throw error;
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }

  /** Ends every child. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.all].map((engine) => this.discard(engine)));
  }

  private async take(compute: Compute, log: RunLog): Promise<PooledEngine> {
    if (this.closed) throw new NibbleflowError('EngineCrashed', 'the worker is shutting down');
    const key = `${compute.device}:${compute.threads}`;
    const index = this.idle.findIndex((engine) => engine.key === key);
    const warm = index < 0 ? undefined : this.idle.splice(index, 1)[0];
    if (warm !== undefined) {
      clearTimeout(warm.timer);
      if (await isAlive(warm.executor)) return warm;
      await this.discard(warm);
      log.warn('engine-ended', 'an idle engine was found dead', { engine: warm.executor.pid });
    }
    await Promise.all(this.idle.splice(0).map((engine) => this.discard(engine)));
    const life = new AbortController();
    const executor = await EngineExecutor.start({
      device: compute.device,
      threads: compute.threads,
      // The queue of computing stages has one slot per device, so an engine has its cores to itself.
      spinning: compute.threads > 1,
      signal: life.signal,
    });
    const engine: PooledEngine = { key, executor, life, timer: undefined };
    this.all.add(engine);
    const facts = { engine: executor.pid, ...compute };
    log.info('engine-started', `an engine on ${compute.device} with ${compute.threads} threads`, facts);
    if (!this.tested.has(key)) {
      await runSelfTest(executor).catch(async (error: unknown) => {
        await this.discard(engine);
        throw error;
      });
      this.tested.add(key);
      log.info('engine-tested', 'the engine passed the self-test', facts);
    }
    return engine;
  }

  private giveBack(engine: PooledEngine): void {
    this.idle.push(engine);
    engine.timer = setTimeout(() => {
      const index = this.idle.indexOf(engine);
      if (index >= 0) this.idle.splice(index, 1);
      void this.discard(engine);
    }, this.idleMs);
    engine.timer.unref();
  }

  private async discard(engine: PooledEngine): Promise<void> {
    clearTimeout(engine.timer);
    this.all.delete(engine);
    engine.life.abort();
    await engine.executor.close().catch(() => undefined);
  }
}

/** An engine that was killed while it idled does not answer. */
async function isAlive(executor: EngineExecutor): Promise<boolean> {
  return executor.free([]).then(
    () => true,
    () => false,
  );
}
