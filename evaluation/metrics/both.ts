/**
 * Waits for two computations that share an executor: the loops of the one run while the other waits for a product. Throws the
 * first error when both have ended, so that nothing goes on behind a failure.
 */
export async function both<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([first, second]);
  return [await first, await second];
}
