import type { PictureScores } from '../../contracts/picture-scores.js';
import type { Score } from '../../contracts/score.js';

/** What a score depends on beside the pictures' model. undefined: not known. */
export interface EvaluationFacts {
  readonly seed?: number;
  readonly steps?: number;
  readonly guidance?: number | null;
  /** Digest of the prompts. */
  readonly prompts?: string;
  /** Digest of the float pipeline that same-seed scores compare with. */
  readonly float?: string;
  /** Digest of the reference; null when there was none. */
  readonly reference?: string | null;
  readonly resize?: string;
  readonly timestepPairs?: number;
  /** Settings of the metrics, as JSON. */
  readonly settings?: string;
}

/** One side of a comparison. */
export interface ComparedSide {
  readonly label: string;
  readonly kind: 'quantization' | 'evaluation' | 'scores';
  readonly scores: readonly Score[];
  readonly pictures: PictureScores | null;
  readonly facts: EvaluationFacts;
  /** Everything that was set, as JSON values: recipe or protocol, device, versions, inputs. */
  readonly settings: unknown;
  /** Bytes of the denoiser. */
  readonly bytes: number | null;
  /** Of work; null when not recorded. */
  readonly seconds: number | null;
}

export interface SettingDifference {
  /** Dotted, e.g. `recipe.weights.bits`. */
  readonly path: string;
  /** undefined: absent on that side. */
  readonly left?: unknown;
  readonly right?: unknown;
}

/** How the interval of a difference was made. */
export type DeltaInterval =
  | 'paired-student-t' // of the differences picture by picture
  | 'independent'; // from the ends of both intervals, as of independent estimates

export interface ScoreDifference {
  readonly metric: string;
  readonly against: Score['against'];
  readonly unit: string;
  readonly better: Score['better'];
  readonly left: Score;
  readonly right: Score;
  /** Right minus left; null when they may not be subtracted. */
  readonly delta: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly level: number | null;
  readonly interval: DeltaInterval | null;
  /** Why they are not subtracted; empty when they are. */
  readonly unlike: readonly string[];
}

export interface Comparison {
  readonly schemaVersion: 1;
  readonly left: string;
  readonly right: string;
  readonly settings: readonly SettingDifference[];
  readonly scores: readonly ScoreDifference[];
  readonly onlyLeft: readonly Score[];
  readonly onlyRight: readonly Score[];
  readonly bytes: { readonly left: number | null; readonly right: number | null };
  readonly seconds: { readonly left: number | null; readonly right: number | null };
  /** What a reader must know. */
  readonly warnings: readonly string[];
}
