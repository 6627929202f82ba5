import { MANIFEST_FILE } from '../activities/output-folder.js';
import { promptPool } from '../activities/prompt-pool.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { drawPromptSets, normalizedPrompt } from '../models/pipelines/prompt-sets.js';
import type { OwnManifest } from './read-own-manifest.js';

/** What a folder tells of the texts and the noise that it was calibrated on. */
export interface Calibrated {
  /** Normalized; empty where nothing is known. */
  readonly texts: ReadonlySet<string>;
  /** Why it cannot be told whether it was calibrated on texts that it is evaluated with; null: it can, or there are none. */
  readonly unknown: string | null;
}

const NOTHING: Calibrated = { texts: new Set(), unknown: null };

/** Reads it from the manifest of a quantized folder: the draw of a recipe is made again. */
export function calibratedOn(pipeline: Pipeline, manifest: OwnManifest | null): Calibrated {
  if (pipeline.textEncoder === null) return NOTHING;
  if (manifest === null) {
    const hasOne = pipeline.files.paths().includes(MANIFEST_FILE);
    return hasOne ? { ...NOTHING, unknown: `its ${MANIFEST_FILE} is not one that nibbleflow can read` } : NOTHING;
  }
  const { recipe } = manifest;
  if (recipe === undefined) return { ...NOTHING, unknown: `its ${MANIFEST_FILE} names no recipe of this version` };
  if (recipe.prompts.file !== null) return { ...NOTHING, unknown: 'its recipe took prompts from a file of its own' };
  try {
    const { calibration } = drawPromptSets({
      prompts: promptPool(pipeline.files),
      evaluation: recipe.prompts.evaluation,
      evaluationCount: recipe.evaluation.samples,
      calibrationCount: recipe.calibration.trajectories,
      seed: recipe.evaluation.seed,
    });
    return { texts: new Set(calibration.map(normalizedPrompt)), unknown: null };
  } catch (error) {
    if (!(error instanceof NibbleflowError)) throw error;
    return { ...NOTHING, unknown: 'the prompts beside it are not those of its recipe' };
  }
}

/** What a reader of scores must know: texts that could not be checked, and noise that calibration has seen. */
export function leakNotes({ unknown }: Calibrated, manifest: OwnManifest | null, { seed }: Protocol): string[] {
  const own = manifest?.recipe?.calibration.seed;
  return [
    ...(unknown === null
      ? []
      : [`whether the pipeline was calibrated on prompts that it is evaluated with could not be checked: ${unknown}`]),
    // The noise floor starts from the next seed; it is of the float pipeline, which was not calibrated.
    ...(own === seed
      ? [`the pipeline was calibrated on the start noise of seed ${seed}, which it is evaluated with`]
      : []),
  ];
}
