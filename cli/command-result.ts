import type { ExitCode } from '../contracts/errors.js';

/** Commands hand their exit code to main, which alone ends the process. */
export type CommandAction = (action: () => Promise<ExitCode>) => Promise<void>;
