/** After the first Ctrl-C there is this much time for the second. */
const SECOND_CHANCE_MS = 3_000;

/** npm and npx pass a Ctrl-C on that the terminal has sent to us already: so soon, a signal is the same key press. */
export const SAME_PRESS_MS = 400;

export interface Interruption {
  /** Resolves with what the keys meant: leave the run alone, or cancel it. Never resolves without a Ctrl-C. */
  readonly requested: Promise<'detach' | 'cancel'>;
  dispose(): void;
}

/** Turns Ctrl-C (and SIGTERM) into a request. `onFirst` says what happens now. */
export function listenForInterruption(onFirst: () => void): Interruption {
  let dispose: () => void = () => undefined;
  const requested = new Promise<'detach' | 'cancel'>((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    let pressedAt = 0;
    const onInterrupt = (): void => {
      if (timer !== undefined) {
        if (performance.now() - pressedAt < SAME_PRESS_MS) return;
        clearTimeout(timer);
        resolve('cancel');
        return;
      }
      pressedAt = performance.now();
      onFirst();
      timer = setTimeout(() => resolve('detach'), SECOND_CHANCE_MS);
    };
    const onTerminate = (): void => resolve('detach');
    process.on('SIGINT', onInterrupt);
    process.on('SIGTERM', onTerminate);
    dispose = () => {
      clearTimeout(timer);
      process.off('SIGINT', onInterrupt);
      process.off('SIGTERM', onTerminate);
    };
  });
  return { requested, dispose: () => dispose() };
}
