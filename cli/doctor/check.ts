import type { LoadedConfig } from '../load-config.js';
import type { ConnectionSettings, OpenClient } from '../server/connection.js';

/** `warning`: works, but not as it could; `failed`: something that runs need does not work. */
export type LineState = 'ok' | 'warning' | 'failed';

/** One line of `nibbleflow doctor`. */
export interface DoctorLine {
  readonly check: string;
  readonly state: LineState;
  readonly what: string;
  /** What to do about it: a command or a setting. null when nothing is to be done. */
  readonly fix: string | null;
}

/** A server that answers. */
export interface ReachedServer extends OpenClient {
  readonly address: string;
  readonly namespace: string;
  /** Started by nibbleflow, as opposed to one that is configured. */
  readonly own: boolean;
}

/** What checks look at. */
export interface DoctorContext {
  readonly loaded: LoadedConfig;
  readonly env: NodeJS.ProcessEnv;
  readonly settings: ConnectionSettings;
  /** null: no server of ours runs now, or the configured one does not answer (`serverFailure` says why). */
  readonly server: ReachedServer | null;
  readonly serverFailure: string | null;
}

/** Looks at one thing and leaves nothing behind. What it throws becomes a failed line. */
export interface Check {
  readonly name: string;
  readonly run: (context: DoctorContext) => Promise<Omit<DoctorLine, 'check'>[]>;
}

/** A line that asks for nothing. */
export function ok(what: string): Omit<DoctorLine, 'check'> {
  return { state: 'ok', what, fix: null };
}
