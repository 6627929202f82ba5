import { type FailureKind, NibbleflowError } from '../contracts/errors.js';

/** How a command answers on stdout. Progress and messages go to stderr. */
export const OUTPUT_FORMATS = ['text', 'json', 'jsonl'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** One line for people, on stderr. */
export function say(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}

/** Data for people or programs, on stdout. */
export function print(text: string): void {
  process.stdout.write(`${printable(text)}\n`);
}

/**
 * Names and texts that others chose must not steer a terminal: control characters become `\\u001b` and the like, which inside of
 * JSON's strings are the same characters.
 */
export function printable(text: string): string {
  return text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to escape
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** One event of `--output jsonl`. */
export function printEvent(event: string, data: object): void {
  process.stdout.write(`${JSON.stringify({ schemaVersion: 1, event, ...data })}\n`);
}

/** The one message of a failure; the stack only with --debug. */
export function explainFailure(error: unknown, debug: boolean): string {
  const message = error instanceof Error ? error.message : String(error);
  const kind: FailureKind = error instanceof NibbleflowError ? error.kind : 'Internal';
  const lines = [`nibbleflow: ${kind}: ${message}`];
  if (debug && error instanceof Error) lines.push(stackOf(error));
  else if (!(error instanceof NibbleflowError)) {
    lines.push('  This is a bug in nibbleflow. Run the same command with --debug and report what it prints.');
  }
  return printable(lines.join('\n'));
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
