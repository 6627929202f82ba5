import type { Client, ScheduleHandle } from '@temporalio/client';
import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import type { NightSpec } from '../../contracts/nights.js';
import { type AppliedNight, appliedNight, appliedNights, scheduleIdOf } from './night-schedule.js';

export interface FoundNight extends AppliedNight {
  readonly handle: ScheduleHandle;
  readonly spec: NightSpec;
}

/** A night that the server has, by name. Throws InvalidInput with the nearest name. */
export async function findNight(client: Client, name: string): Promise<FoundNight> {
  const found = await appliedNight(client, name);
  if (found !== undefined && found.owner !== '') {
    const spec = found.description.action.args?.[0] as NightSpec;
    return { ...found, spec, handle: client.schedule.getHandle(scheduleIdOf(name)) };
  }
  const names = (await appliedNights(client)).map((night) => night.name);
  const nearest = nearestName(name, names);
  const others = names.length === 0 ? 'There are none: nibbleflow schedule apply' : `Nights: ${names.join(', ')}`;
  throw new NibbleflowError('InvalidInput', `the server has no night ${name}`, {
    where: scheduleIdOf(name),
    fix: nearest === undefined ? others : `Did you mean ${nearest}?`,
  });
}
