import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isRunning } from '../../cli/server/processes.js';
import type { RecipeInput } from '../../contracts/recipe.js';
import { uniforms } from '../../models/tensors/random.js';
import { CliHome, digestsOf } from '../e2e/cli-home.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { FAULTS, type Fault } from './faults.js';
import { ObservedRun } from './observed-run.js';

/**
 * Random faults at random moments of real runs. `npm test` inflicts one of each kind; `npm run test:chaos` a hundred
 * (NIBBLEFLOW_CHAOS_FAULTS), from the seed NIBBLEFLOW_CHAOS_SEED, and prints what docs/reliability.md lists.
 */
const WANTED = Number(process.env.NIBBLEFLOW_CHAOS_FAULTS ?? FAULTS.length);
const SEED = Number(process.env.NIBBLEFLOW_CHAOS_SEED ?? 1);

const RECIPE: RecipeInput = {
  name: 'chaos',
  sampling: { steps: 3 },
  calibration: { trajectories: 4, timesteps: 3 },
  evaluation: { samples: 2, timestepPairs: 16, beforeFinetuning: false },
  finetuning: {
    batchSize: 4,
    validateEvery: 200,
    patience: 100,
    phases: [
      { name: 'time', layers: ['time-embedding'], steps: 400 },
      { name: 'attention', layers: ['attention-projection'], steps: 1200 },
    ],
  },
};

/** Between two faults; the supervisor gives up on a process that ends six times in a minute. */
const PAUSES_MS = [1_000, 6_000] as const;
const SAME_FAULT_AGAIN_MS = 12_000;
/** A fault that finds nothing to happen to is tried again this soon. */
const NO_TARGET_MS = 200;
const FAULT_MS = 120_000;

let home: CliHome;
let undisturbed: Record<string, string>;
const draws = uniforms(SEED, 0, 1 << 16).values();
const random = (): number => draws.next().value ?? 0;
const pick = (count: number): number => Math.min(count - 1, Math.floor(random() * count));

beforeAll(async () => {
  home = await CliHome.open(RECIPE);
  home.pipeline = join(home.folder, 'tiny');
  await writeTinyPipeline(home.pipeline);
  undisturbed = digestsOf(await home.quantize());
});
afterAll(() => home.close());

/** Faults in random order: every kind once before any comes again. */
function* kinds(): Generator<Fault> {
  for (;;) {
    const bag = [...FAULTS];
    while (bag.length > 0) yield bag.splice(pick(bag.length), 1)[0] as Fault;
  }
}

/** A run from an empty store; what earlier runs left would be reused. */
async function freshRun(): Promise<ObservedRun> {
  await home.run('down');
  await rm(join(home.home, 'store'), { recursive: true, force: true });
  await rm(home.out, { recursive: true, force: true });
  return new ObservedRun(home);
}

/** What was done to whom, over all runs. */
class Chaos {
  readonly inflicted = new Map<string, number>();
  runs = 0;
  restarts = 0;
  private readonly lastAt = new Map<string, number>();

  /** Runs from empty stores until all faults have happened; each run must end as the undisturbed one did. */
  async inflict(wanted: number): Promise<void> {
    const faults = kinds();
    let next = faults.next().value as Fault;
    let left = wanted;
    while (left > 0) {
      this.runs += 1;
      let run = await freshRun();
      let mayEnd = false;
      for (;;) {
        while (left > 0 && (await this.strike(next, () => run.isOver))) {
          mayEnd ||= next.mayEndRun;
          next = faults.next().value as Fault;
          left -= 1;
        }
        const { code, said, summary } = await run.end();
        if (code === 0) {
          expect(summary === undefined ? undefined : digestsOf(summary)).toEqual(undisturbed);
          break;
        }
        expect(said).toMatch(mayEnd ? /nibbleflow: MissingArtifact/ : /^$/);
        this.restarts += 1;
        run = new ObservedRun(home);
      }
    }
  }

  /** Waits for its moment, then inflicts the fault; false when the run ended before there was anything to hit. */
  private async strike(fault: Fault, ended: () => boolean): Promise<boolean> {
    const since = Date.now() - (this.lastAt.get(fault.name) ?? 0);
    const [least, most] = PAUSES_MS;
    await sleep(Math.max(least + random() * (most - least), SAME_FAULT_AGAIN_MS - since));
    while (!ended()) {
      if (await fault.inflict(home, pick)) {
        this.lastAt.set(fault.name, Date.now());
        this.inflicted.set(fault.name, (this.inflicted.get(fault.name) ?? 0) + 1);
        return true;
      }
      await sleep(NO_TARGET_MS);
    }
    return false;
  }
}

describe('random faults at random moments', () => {
  it('lose nothing: every run ends with the digests of the undisturbed one', {
    timeout: WANTED * FAULT_MS,
  }, async () => {
    const chaos = new Chaos();
    await chaos.inflict(WANTED);
    const rows = FAULTS.map(({ name }) => `| ${name} | ${chaos.inflicted.get(name) ?? 0} |`);
    const total = [...chaos.inflicted.values()].reduce((sum, count) => sum + count, 0);
    process.stderr.write(
      [`seed ${SEED}: ${total} faults in ${chaos.runs} runs, ${chaos.restarts} started again`, ...rows, ''].join('\n'),
    );
    expect(total).toBe(WANTED);
    // Temporary files of killed writers stay in the store for a day; parts of an output never stay.
    expect((await home.leftovers()).filter((name) => name.includes('out'))).toEqual(['out']);
    const processes = home.processes();
    expect((await home.run('down')).code).toBe(0);
    expect(processes.filter(({ ref }) => isRunning(ref))).toEqual([]);
  });
});
