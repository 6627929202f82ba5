/** A line of progress at most this often. */
const PROGRESS_EVERY_MS = 10_000;

/** What a bench tells people while it runs, on stderr: stdout is for the result. */
export class BenchLog {
  private lastAt = 0;

  line(text: string): void {
    console.error(text);
  }

  /** Shown now and then. */
  progress(text: string): void {
    const now = performance.now();
    if (now - this.lastAt < PROGRESS_EVERY_MS) return;
    this.lastAt = now;
    console.error(`  ${text}`);
  }
}
