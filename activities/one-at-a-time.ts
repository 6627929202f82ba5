/** The function, called again only when the call before has ended: what a task queue with one slot does, without a server. */
export function oneAtATime<Input, Result>(work: (input: Input) => Promise<Result>): (input: Input) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (input) => {
    const next = last.then(() => work(input));
    last = next.catch(() => undefined);
    return next;
  };
}
