import { DeviceLeases } from '../../activities/device-leases.js';

/**
 * A worker process of the lease tests: takes leases of `gpu0` in FOLDER, one after the other, COUNT times, and notes in the
 * file LOG when it has it and when it gives it back. With COUNT 0 it takes one and keeps it.
 */
const [folder = '', log = '', count = '0'] = process.argv.slice(2);

const { appendFileSync } = await import('node:fs');
const leases = new DeviceLeases(folder, 2);
const never = new AbortController().signal;

async function take() {
  return leases.acquire('gpu0', { run: 'r', stage: 'sample', attempt: 1 }, { signal: never, onWait: () => undefined });
}

if (count === '0') {
  const lease = await take();
  appendFileSync(log, `held ${lease.token} ${process.pid}\n`);
  setInterval(() => undefined, 60_000);
}
for (let i = 0; i < Number(count); i += 1) {
  const lease = await take();
  appendFileSync(log, `held ${lease.token} ${process.pid}\n`);
  await new Promise((resolve) => setTimeout(resolve, 3));
  lease.assertHeld();
  appendFileSync(log, `free ${lease.token} ${process.pid}\n`);
  lease.release();
}
