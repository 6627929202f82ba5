import { condition, defineSignal, proxyActivities, setHandler } from '@temporalio/workflow';

/** The same workflow as the next version has it: histories of the first one do not fit. */
export async function deployed(): Promise<string[]> {
  const { check, compute } = proxyActivities<Record<'check' | 'compute', () => Promise<string>>>({
    startToCloseTimeout: '1 minute',
  });
  let goOn = false;
  setHandler(defineSignal('goOn'), () => {
    goOn = true;
  });
  const checked = await check();
  await condition(() => goOn);
  return ['second', checked, await compute()];
}
