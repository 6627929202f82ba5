import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunSummary } from '../../contracts/run-summary.js';
import type { Progress } from '../../contracts/stages.js';
import { readSafetensors } from '../../models/tensors/safetensors.js';
import { spawnCli } from '../cli/run-cli.js';
import type { CliHome } from '../e2e/cli-home.js';

/** A finetuning checkpoint as it lies in the store. */
export interface SavedCheckpoint {
  readonly done: number;
  readonly savedAt: number;
}

/** A quantize command in the background, with everything it told. */
export class ObservedRun {
  /** Progress of finetuning, as heartbeats carried it. */
  readonly finetuning: Progress[] = [];
  /** Progress of all stages. */
  readonly progress: Progress[] = [];
  private summary: RunSummary | undefined;
  private said = '';
  private readonly command: ChildProcess;

  constructor(private readonly home: CliHome) {
    this.command = spawnCli(home.quantizeArguments('--output', 'jsonl'), home.env, home.folder);
    this.command.stderr?.on('data', (chunk: Buffer) => {
      this.said += chunk.toString();
    });
    if (this.command.stdout === null) throw new Error('the command has no stdout');
    createInterface({ input: this.command.stdout }).on('line', (line) => this.keep(JSON.parse(line)));
  }

  /** Resolves with what was told when at least `steps` steps were done since the last of one or more checkpoints. */
  async inMidFinetuning(steps: number): Promise<SavedCheckpoint> {
    for (;;) {
      const last = this.finetuning.at(-1);
      const saved = last?.checkpoint ? await this.checkpoint() : undefined;
      if (last !== undefined && saved !== undefined && last.done >= saved.done + steps) return saved;
      if (this.command.exitCode !== null) throw new Error(`the run ended before: ${this.said}`);
      await sleep(200);
    }
  }

  /** Resolves with what was told when `stage` has done at least `done` of its units and is not at its end. */
  async inMid(stage: Progress['stage'], done: number): Promise<Progress> {
    for (;;) {
      const last = this.progress.at(-1);
      if (last?.stage === stage && last.done >= done && last.done < last.total) return last;
      if (this.command.exitCode !== null) throw new Error(`the run ended before: ${this.said}`);
      await sleep(50);
    }
  }

  /** The checkpoint of finetuning in the store. */
  async checkpoint(): Promise<SavedCheckpoint | undefined> {
    const folder = join(this.home.home, 'store', 'checkpoints');
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const file = await readFile(path).catch(() => undefined);
      if (file === undefined) continue;
      const at = positionIn(file.subarray(file.indexOf(0x0a) + 1));
      if (at !== undefined) return { done: at, savedAt: (await stat(path)).mtimeMs };
    }
    return undefined;
  }

  get isOver(): boolean {
    return this.command.exitCode !== null;
  }

  /** Exit code of the command, when it ends. */
  async end(): Promise<{ code: number | null; said: string; summary: RunSummary | undefined }> {
    if (this.command.exitCode === null) await once(this.command, 'close');
    return { code: this.command.exitCode, said: this.said, summary: this.summary };
  }

  /** What a run that succeeded made. Throws an Error with all that it said when it did not. */
  async result(): Promise<RunSummary> {
    const { code, said, summary } = await this.end();
    if (code !== 0 || summary === undefined) throw new Error(`quantize ended with ${code}: ${said}`);
    return summary;
  }

  private keep(event: { event: string; inside?: Progress | null; summary?: RunSummary }): void {
    if (event.event === 'progress' && event.inside) this.progress.push(event.inside);
    if (event.event === 'progress' && event.inside?.stage === 'finetune') this.finetuning.push(event.inside);
    if (event.event === 'finished') this.summary = event.summary;
  }
}

/** Other stages keep other things in their checkpoints. */
function positionIn(bytes: Uint8Array): number | undefined {
  try {
    const { at } = readSafetensors(new Uint8Array(bytes)).metadata;
    return at === undefined ? undefined : (JSON.parse(at) as { done: number }).done;
  } catch {
    return undefined;
  }
}
