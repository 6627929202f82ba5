import type { Runnable } from '../models/executor.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import type { Tensor } from '../models/tensors/tensor.js';
import { RecordedCalls } from './recorded-calls.js';
import type { StageContext } from './stage-frame.js';
import { Checkpoints } from './store/checkpoints.js';

/**
 * Checkpoints of work that is done in batches which do not depend on each other: one file a batch, so that a checkpoint
 * costs what the batch made, however much came before. `size` is part of the name: other batches are never mixed in. Inside
 * a batch the model's answers are kept, in parts, until the batch is done.
 */
export class BatchCheckpoints {
  private readonly files: Checkpoints;
  private readonly keys = new Set<string>();
  /** Keys of the parts of the batch that is being made. */
  private parts: string[] = [];

  constructor(
    private readonly context: StageContext,
    private readonly name: string,
    private readonly size: number,
  ) {
    this.files = new Checkpoints(context.store);
    context.checkpoint.expect();
  }

  /** What batch `index` made in an earlier attempt, or undefined. */
  async load(index: number): Promise<Map<string, Tensor> | undefined> {
    const bytes = await this.files.load(this.keyOf(index), this.context.key);
    return bytes === undefined ? undefined : readSafetensors(bytes).tensors;
  }

  /** The model as batch `index` has to call it: calls that an earlier attempt has made are answered from its record. */
  async recorded(index: number, runnable: Runnable): Promise<RecordedCalls> {
    this.parts = [];
    const calls: Record<string, Tensor>[] = [];
    for (;;) {
      const key = this.partKey(index);
      const bytes = await this.files.load(key, this.context.key);
      if (bytes === undefined) return new RecordedCalls(runnable, calls);
      this.parts.push(key);
      for (const [name, tensor] of readSafetensors(bytes).tensors) {
        const [call = '', output = ''] = name.split(/:(.*)/s);
        calls[Number(call)] = { ...calls[Number(call)], [output]: tensor };
      }
    }
  }

  /** Call it after every step inside batch `index`: a checkpoint when one is due. */
  async offer(index: number, model: RecordedCalls): Promise<void> {
    await this.context.checkpoint.offer(async () => {
      const { first, answers } = model.takeFresh();
      const named = answers.flatMap((answer, i) =>
        Object.entries(answer).map(([output, tensor]): [string, Tensor] => [`${first + i}:${output}`, tensor]),
      );
      if (named.length > 0) {
        const key = this.partKey(index);
        await this.files.save(key, this.context.key, writeSafetensors(new Map(named)));
        this.parts.push(key);
      }
      return this.pointer(index);
    });
  }

  async save(index: number, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
    await this.files.save(this.keyOf(index), this.context.key, writeSafetensors(tensors));
    for (const key of this.parts.splice(0)) await this.files.remove(key);
    await this.context.checkpoint.save(this.pointer(index));
  }

  /** Deletes the files of every batch that was loaded or saved; call it when the result is in the store. */
  async remove(): Promise<void> {
    for (const key of this.keys) await this.files.remove(key);
  }

  private pointer(index: number): Uint8Array {
    return new TextEncoder().encode(JSON.stringify({ name: this.name, batch: index, parts: this.parts.length }));
  }

  private partKey(index: number): string {
    return `${this.keyOf(index)}.${this.parts.length}`;
  }

  private keyOf(index: number): string {
    const name = this.name.replace(/[^A-Za-z0-9]/g, '-');
    const key = `${this.context.key}.${name}-${this.size}.${index}`;
    this.keys.add(key);
    return key;
  }
}
