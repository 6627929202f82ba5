import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { EnginePool } from '../../activities/engine-pool.js';
import { type ActivityDeps, runStage, type StageContext } from '../../activities/stage-frame.js';
import { LocalStore } from '../../activities/store/local-store.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { decisionText, RECOMPUTE_FIELD } from '../../contracts/stage-decision.js';
import type { StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';

interface Made extends StageOutcome {
  readonly graph: ArtifactRef;
}
const schema = z.strictObject({ recipe: z.object({ timesteps: z.number(), clip: z.number().optional() }) });
type Input = z.output<typeof schema>;
type Body = (input: Input, context: StageContext) => Promise<{ summary: string; graph: ArtifactRef }>;

let folder: string;
let store: LocalStore;
let runs: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-results-'));
  store = await LocalStore.open(folder);
  runs = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const put = (text: string): Promise<ArtifactRef> => store.put('graph', new TextEncoder().encode(text));
const body: Body = async ({ recipe }) => {
  runs += 1;
  return { summary: '', graph: await put(`graph for ${recipe.timesteps}`) };
};

/** One activity of run `run`; `recompute` names the retry that wants it again. */
async function stage(run: string, recipe: Input['recipe'], recompute?: string, work: Body = body): Promise<Made> {
  const host = () => ({ run, signal: new AbortController().signal, heartbeat: () => undefined });
  const deps: ActivityDeps = { store, engines: new EnginePool(), policies: FAILURE_POLICIES, facts: {}, host };
  const input = { recipe, ...(recompute === undefined ? {} : { [RECOMPUTE_FIELD]: recompute }) };
  return runStage<typeof schema, Made>(deps, { stage: 'observe', version: 1, input: schema }, input, work);
}

describe('a stored result', () => {
  it('says why a stage was run: the first, then by the field that differs from the nearest result of another run', async () => {
    expect((await stage('a', { timesteps: 20, clip: 1 })).decision).toMatchObject({ outcome: 'first', since: null });
    await stage('a', { timesteps: 50, clip: 2 });
    const { decision } = await stage('b', { timesteps: 10, clip: 1 });
    expect(decision).toMatchObject({
      outcome: 'changed',
      differences: [{ path: 'recipe.timesteps', was: '20', is: '10' }],
      moreDifferences: 0,
    });
    if (decision === undefined) throw new Error('no decision');
    expect(decisionText(decision)).toMatch(
      /^run, because recipe\.timesteps was 20, is 10 \(nearest earlier result of \d{4}-\d\d-\d\d \d\d:\d\dZ\)$/,
    );
  });

  it('does not explain a stage by what its own run made: the shards of a set are no reason for each other', async () => {
    await stage('a', { timesteps: 1 });
    expect((await stage('a', { timesteps: 2 })).decision).toMatchObject({ outcome: 'first' });
  });

  it('says since when a reused result is there, and when one was stored but is not whole any more', async () => {
    const { graph, decision } = await stage('a', { timesteps: 1 });
    const again = await stage('b', { timesteps: 1 });
    expect(again).toMatchObject({ reused: true, decision: { outcome: 'reused', key: decision?.key } });
    expect(again.decision?.since).not.toBeNull();
    await rm(join(folder, 'objects', graph.digest.slice(0, 2), graph.digest));
    expect((await stage('c', { timesteps: 1 })).decision).toMatchObject({ outcome: 'lost' });
    expect(runs).toBe(2);
  });

  it('is computed again once for a retry that asks, and says that the same bytes came out', async () => {
    await stage('a', { timesteps: 1 });
    const asked = await stage('b', { timesteps: 1 }, 'retry 1');
    expect(asked).toMatchObject({ reused: false, decision: { outcome: 'asked', equal: true } });
    // A second attempt of the same activity, after its worker died before it could answer.
    expect(await stage('b', { timesteps: 1 }, 'retry 1')).toMatchObject({ reused: false });
    expect(runs).toBe(2);
    await stage('c', { timesteps: 1 }, 'retry 2');
    expect(runs).toBe(3);
    expect(await stage('d', { timesteps: 1 })).toMatchObject({ reused: true });
  });

  it('tells other bytes from the same, and hands out the new ones', async () => {
    const old = await stage('a', { timesteps: 1 });
    const other: Body = async () => ({ summary: '', graph: await put('something else') });
    const asked = await stage('b', { timesteps: 1 }, 'retry', other);
    expect(asked.decision?.equal).toBe(false);
    expect(asked.graph.digest).not.toBe(old.graph.digest);
    expect((await stage('c', { timesteps: 1 })).graph).toEqual(asked.graph);
    expect(await store.has(old.graph)).toBe(true);
  });

  it('that is computed again starts from no checkpoint but its own', async () => {
    const seen: (number | undefined)[] = [];
    const failing: Body = async (_, context) => {
      seen.push((await context.checkpoint.load())?.[0]);
      await context.checkpoint.save(new Uint8Array([seen.length]));
      throw new NibbleflowError('EngineCrashed', 'killed');
    };
    await expect(stage('a', { timesteps: 1 }, undefined, failing)).rejects.toThrow('killed');
    await expect(stage('b', { timesteps: 1 }, 'retry', failing)).rejects.toThrow('killed');
    await expect(stage('b', { timesteps: 1 }, 'retry', failing)).rejects.toThrow('killed');
    expect(seen).toEqual([undefined, undefined, 2]);
  });

  it('explains without identities, and never by a damaged one', async () => {
    await stage('a', { timesteps: 1 });
    const identities = join(folder, 'identities', 'observe');
    const [name = ''] = await readdir(identities);
    await writeFile(join(identities, name), '{"schemaVersion":1');
    expect((await stage('b', { timesteps: 2 })).decision).toMatchObject({ outcome: 'first' });
    expect((await stage('b', { timesteps: 1 })).decision).toMatchObject({ outcome: 'reused' });
  });
});
