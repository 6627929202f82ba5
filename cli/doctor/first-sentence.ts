const MOST_CHARACTERS = 160;

/** The first line of a failure, short enough for a line of a list. */
export function firstSentence(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const line = message.trim().split('\n')[0] ?? '';
  return line.length <= MOST_CHARACTERS ? line : `${line.slice(0, MOST_CHARACTERS - 1)}…`;
}
