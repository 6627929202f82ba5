import type { ArtifactRef } from '../contracts/artifact.js';
import type { Recipe } from '../contracts/recipe.js';
import type { ReconstructBlockResult, ReconstructionActivities } from '../contracts/reconstruction-activities.js';
import type { Compute, StageOutcome } from '../contracts/stages.js';

/** What reconstruction starts from. */
export interface ReconstructionInput {
  readonly pipeline: ArtifactRef;
  readonly graph: ArtifactRef;
  readonly plan: ArtifactRef;
  readonly calibration: ArtifactRef;
  readonly parameters: ArtifactRef;
  readonly recipe: Recipe;
  readonly compute: Compute;
}

export interface ReconstructionOutcome extends StageOutcome {
  readonly parameters: ArtifactRef;
  /** Relative squared output errors of the blocks on held-back items, in network order. */
  readonly errors: readonly { readonly before: number; readonly after: number }[];
}

/** Blocks in a wave when none waits for another: their references still fit into one payload. */
const LARGEST_WAVE = 64;

/**
 * Reconstructs a denoiser's blocks in network order, in waves: the blocks of a wave are trained at the same time, on as many
 * workers as there are, and see a network in which the blocks of all earlier waves are as they were trained.
 */
export async function reconstructBlocks(
  activities: ReconstructionActivities,
  input: ReconstructionInput,
  onBlock: (done: number, total: number) => void = () => undefined,
): Promise<ReconstructionOutcome> {
  const { pipeline, graph, plan, calibration, recipe, compute } = input;
  const cut = await activities.cutBlocks({ pipeline, graph, plan });
  const { blocks, count } = cut;
  const wave = waveSize(recipe);
  let { parameters } = input;
  const outcomes: StageOutcome[] = [cut];
  const found: ReconstructBlockResult[] = [];
  let done = 0;
  for (let from = 0; from < count; from += wave) {
    const to = Math.min(count, from + wave);
    const common = { graph, plan, parameters, blocks, recipe, compute };
    const captured = await activities.captureBlocks({ ...common, calibration, from, to });
    const trained = await Promise.all(
      captured.data.map(async (data, index) => {
        const result = await activities.reconstructBlock({ ...common, block: from + index, data });
        done += 1;
        onBlock(done, count);
        return result;
      }),
    );
    const merged = await activities.mergeBlocks({ plan, parameters, trained: trained.map((one) => one.trained) });
    parameters = merged.parameters;
    found.push(...trained);
    outcomes.push(captured, ...trained, merged);
  }
  const errors = found.map(({ before, after }) => ({ before, after }));
  return {
    parameters,
    errors,
    reused: outcomes.every(({ reused }) => reused),
    seconds: outcomes.reduce((sum, { seconds }) => sum + seconds, 0),
    workSeconds: outcomes.reduce((sum, { seconds, workSeconds = seconds }) => sum + workSeconds, 0),
    summary: summaryOf(errors),
  };
}

function waveSize({ reconstruction }: Recipe): number {
  return reconstruction.inputs === 'float' ? LARGEST_WAVE : Math.min(LARGEST_WAVE, reconstruction.wave);
}

/** Errors differ by orders of magnitude between blocks: their ratios are averaged, as decibels. */
function summaryOf(errors: ReconstructionOutcome['errors']): string {
  const better = errors.filter(({ before, after }) => after < before);
  const decibels = errors.reduce(
    (sum, { before, after }) => sum + (after < before ? 10 * Math.log10(before / after) : 0),
    0,
  );
  const mean = errors.length === 0 ? 0 : decibels / errors.length;
  return `${better.length} of ${errors.length} blocks closer to the float network, by ${mean.toFixed(2)} dB on average`;
}
