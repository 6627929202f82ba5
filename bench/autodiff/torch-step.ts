import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { npyFromTensor } from '../../models/tensors/npy.js';
import type { Tensor } from '../../models/tensors/tensor.js';
import type { Duration } from './timing.js';

const SCRIPT = 'bench/torch/unet_step.py';

/** The same training step in torch, in a Python process of its own. */
export class TorchStep {
  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: AsyncIterator<string>,
    private readonly folder: string,
    readonly version: string,
    /** Resident memory before the model was read. */
    readonly baseBytes: number,
    readonly loss: number,
    /** Sum of the gradients' norms. */
    readonly norm: number,
  ) {}

  /** null when this Python has no torch, onnx or numpy; what it said goes to stderr. */
  static async start(
    python: string,
    model: string,
    inputs: ReadonlyMap<string, Tensor>,
    threads: number,
    plain: boolean,
  ): Promise<TorchStep | null> {
    const folder = mkdtempSync(join(tmpdir(), 'nibbleflow-torch-'));
    for (const [name, value] of inputs) writeFileSync(join(folder, `${name}.npy`), npyFromTensor(value));
    const child = spawn(python, [SCRIPT, model, folder, String(threads), ...(plain ? ['--plain'] : [])], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, OMP_NUM_THREADS: String(threads), OMP_WAIT_POLICY: 'passive' },
    });
    const failed = new Promise<null>((resolve) => child.once('error', () => resolve(null)));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await Promise.race([lines.next(), failed]);
    const words = first === null || first.done === true ? [] : first.value.split(' ');
    if (words[0] !== 'ready') {
      rmSync(folder, { recursive: true });
      return null;
    }
    const [base = 0, loss = 0, norm = 0] = words.slice(2).map(Number);
    return new TorchStep(child, lines, folder, words[1] ?? '', base, loss, norm);
  }

  async step(): Promise<Duration> {
    const [busy = Number.NaN, wall = Number.NaN] = (await this.ask('step')).split(' ').map(Number);
    return { busy, wall };
  }

  async peakBytes(): Promise<number> {
    return Number(await this.ask('peak'));
  }

  stop(): void {
    this.child.stdin?.end();
    rmSync(this.folder, { recursive: true });
  }

  private async ask(question: string): Promise<string> {
    this.child.stdin?.write(`${question}\n`);
    const answer = await this.lines.next();
    if (answer.done === true) throw new Error('the torch process ended');
    return answer.value;
  }
}
