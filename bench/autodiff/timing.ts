/** Milliseconds of one run: of processor time in all threads of this process, and of the clock on the wall. */
export interface Duration {
  readonly busy: number;
  readonly wall: number;
}

export async function timed(run: () => Promise<unknown>): Promise<Duration> {
  const [busy, wall] = [process.cpuUsage(), performance.now()];
  await run();
  const spent = process.cpuUsage(busy);
  return { busy: (spent.user + spent.system) / 1000, wall: performance.now() - wall };
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Rounds that are not counted: the first runs allocate. */
const WARM_UP = 2;

/** Runs all contestants in turn, round after round, and returns the medians of each. */
export async function interleaved<Name extends string>(
  contestants: ReadonlyMap<Name, () => Promise<Duration>>,
  rounds: number,
): Promise<Map<Name, Duration>> {
  const durations = new Map([...contestants.keys()].map((name) => [name, [] as Duration[]]));
  for (let round = -WARM_UP; round < rounds; round += 1) {
    for (const [name, run] of contestants) {
      const duration = await run();
      if (round >= 0) durations.get(name)?.push(duration);
    }
  }
  return new Map(
    [...durations].map(([name, all]) => [
      name,
      { busy: median(all.map(({ busy }) => busy)), wall: median(all.map(({ wall }) => wall)) },
    ]),
  );
}
