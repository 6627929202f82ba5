import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';

/** A workflow as the first version of a deployment has it. */
export async function deployed(): Promise<string[]> {
  const { prepare, compute } = proxyActivities<Record<'prepare' | 'compute', () => Promise<string>>>({
    startToCloseTimeout: '1 minute',
  });
  let goOn = false;
  setHandler(defineSignal('goOn'), () => {
    goOn = true;
  });
  const before = await prepare();
  await condition(() => goOn);
  return ['first', before, await compute()];
}
