/**
 * Failure kinds that cross a process boundary. The retry policy of each is in workflows/policies.ts, the exit code here.
 */
export const FAILURE_KINDS = [
  'InvalidRecipe',
  'InvalidModel',
  'InvalidInput',
  'MissingArtifact',
  'OutOfMemory',
  'EngineCrashed',
  'Stalled',
  'Preempted',
  'WorkerLost',
  'LeaseLost',
  'DiskFull',
  'NonFiniteLoss',
  'OutputNotWritable',
  'DeviceUnavailable',
  'ServerUnavailable',
  'StoreUnavailable',
  'StoreRefused',
  'QUALITY_REGRESSION',
  'Internal',
] as const;

export type FailureKind = (typeof FAILURE_KINDS)[number];

/** 0 ok · 1 internal · 2 usage or input · 3 environment · 4 run failed · 5 quality regression · 130 interrupted. */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5 | 130;

const EXIT_CODES: Record<FailureKind, ExitCode> = {
  InvalidRecipe: 2,
  InvalidModel: 2,
  InvalidInput: 2,
  MissingArtifact: 4,
  OutOfMemory: 4,
  EngineCrashed: 4,
  Stalled: 4,
  Preempted: 4,
  WorkerLost: 4,
  LeaseLost: 4,
  DiskFull: 3,
  NonFiniteLoss: 4,
  OutputNotWritable: 3,
  DeviceUnavailable: 3,
  ServerUnavailable: 3,
  StoreUnavailable: 3,
  StoreRefused: 3,
  QUALITY_REGRESSION: 5,
  Internal: 1,
};

/** The exit code a command ends with when a failure of this kind ends it. */
export function exitCodeFor(kind: FailureKind): ExitCode {
  return EXIT_CODES[kind];
}

/** Every failure a user can cause: what happened, where, and what to do about it. */
export class NibbleflowError extends Error {
  override readonly name = 'NibbleflowError';
  readonly kind: FailureKind;
  /** File, node, setting or address it happened at. */
  readonly where: string | undefined;
  /** The next action. */
  readonly fix: string | undefined;

  constructor(kind: FailureKind, what: string, details: { where?: string; fix?: string; cause?: unknown } = {}) {
    const where = details.where === undefined ? '' : ` (${details.where})`;
    const fix = details.fix === undefined ? '' : `\n  ${details.fix}`;
    super(`${what}${where}${fix}`, { cause: details.cause });
    this.kind = kind;
    this.where = details.where;
    this.fix = details.fix;
  }
}

/** The known name nearest to a mistyped one (edit distance ≤ 1/2 of its length), for "did you mean". */
export function nearestName(wrong: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wrong.length / 2)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wrong.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
