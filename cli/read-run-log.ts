import { open } from 'node:fs/promises';
import { z } from 'zod';
import { runLogFiles } from '../activities/run-log.js';
import type { LogLine } from './log-line.js';

const lineSchema = z.looseObject({
  time: z.string(),
  level: z.enum(['info', 'warn', 'error']),
  event: z.string(),
  msg: z.string(),
  run: z.string(),
  runId: z.string(),
});

/** Reads what workers of this machine wrote of a run: first everything, then what came since. */
export class RunLogReader {
  /** Bytes that were read of each file, by its number on the disk: a file that is renamed stays the same. */
  private readonly offsets = new Map<bigint, number>();

  constructor(
    private readonly stateDir: string,
    private readonly run: string,
    private readonly runId: string,
  ) {}

  /** Lines of this execution of the run that were written since the last call. */
  async next(): Promise<LogLine[]> {
    const lines: LogLine[] = [];
    for (const path of runLogFiles(this.stateDir, this.run)) lines.push(...(await this.tail(path)));
    return lines;
  }

  private async tail(path: string): Promise<LogLine[]> {
    const file = await open(path, 'r').catch(() => undefined);
    if (file === undefined) return [];
    try {
      const { ino, size } = await file.stat({ bigint: true });
      const from = this.offsets.get(ino) ?? 0;
      const bytes = Buffer.alloc(Math.max(0, Number(size) - from));
      const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, from);
      // What has no end yet is being written.
      const end = bytes.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
      this.offsets.set(ino, from + end);
      return this.parsed(bytes.toString('utf8', 0, end));
    } finally {
      await file.close();
    }
  }

  private parsed(text: string): LogLine[] {
    return text.split('\n').flatMap((line) => {
      const parsed = lineSchema.safeParse(jsonOf(line));
      if (!parsed.success || parsed.data.runId !== this.runId) return [];
      return [{ ...parsed.data, source: 'worker' as const }];
    });
  }
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
