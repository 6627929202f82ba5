import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import type { Tensor } from '../models/tensors/tensor.js';
import type { StageContext } from './stage-frame.js';
import { Checkpoints } from './store/checkpoints.js';

/**
 * Checkpoints of work that is done in batches which do not depend on each other: one file a batch, so that a checkpoint
 * costs what the batch made, however much came before. `size` is part of the name: other batches are never mixed in.
 */
export class BatchCheckpoints {
  private readonly files: Checkpoints;
  private readonly keys = new Set<string>();

  constructor(
    private readonly context: StageContext,
    private readonly name: string,
    private readonly size: number,
  ) {
    this.files = new Checkpoints(context.store);
  }

  /** What batch `index` made in an earlier attempt, or undefined. */
  async load(index: number): Promise<Map<string, Tensor> | undefined> {
    const bytes = await this.files.load(this.keyOf(index), this.context.key);
    return bytes === undefined ? undefined : readSafetensors(bytes).tensors;
  }

  async save(index: number, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
    await this.files.save(this.keyOf(index), this.context.key, writeSafetensors(tensors));
    await this.context.checkpoint.save(new TextEncoder().encode(JSON.stringify({ name: this.name, batch: index })));
  }

  /** Deletes the files of every batch that was loaded or saved; call it when the result is in the store. */
  async remove(): Promise<void> {
    for (const key of this.keys) await this.files.remove(key);
  }

  private keyOf(index: number): string {
    const key = `${this.context.key}.${this.name}-${this.size}.${index}`;
    this.keys.add(key);
    return key;
  }
}
