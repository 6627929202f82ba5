/** Awaited in the middle of long computations, so that a caller can send a heartbeat, or stop them by throwing. */
export type Breathe = () => Promise<void>;

export const withoutPause: Breathe = async () => undefined;
