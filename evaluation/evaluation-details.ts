/** What the scores of an evaluation were computed from, as its report and `compare` need it. JSON. */
export interface EvaluationDetails {
  readonly schemaVersion: 1;
  /** What a reader of the report must know beside the scores. */
  readonly notes: readonly string[];
  /** By metric: same-seed values of every picture, in the order of the pictures; empty without a float pipeline. */
  readonly pictures: Readonly<Record<string, readonly number[]>>;
  /** Of the final latents behind every step: of the candidate and of the noise floor. */
  readonly candidate: TimestepDifferences | null;
  readonly floor: TimestepDifferences | null;
}

export type TimestepDifferences = readonly {
  readonly timestep: number;
  readonly sqnrDb: number;
  /** ‖x − x̂‖ / ‖x‖ */
  readonly error: number;
}[];
