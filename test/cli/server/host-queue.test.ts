import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hostQueue } from '../../../cli/server/host-queue.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-host-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it('is the same for a state folder for ever, and another for another folder', () => {
  const queue = hostQueue(join(folder, 'one'));
  expect(queue).toMatch(/^nibbleflow-host-[a-z0-9-]+-[0-9a-f]{8}$/);
  expect(hostQueue(join(folder, 'one'))).toBe(queue);
  expect(hostQueue(join(folder, 'two'))).not.toBe(queue);
});

it('refuses a damaged id instead of changing where a run’s files are', async () => {
  await writeFile(join(folder, 'host-id'), '../../elsewhere\n');
  expect(() => hostQueue(folder)).toThrow(expect.objectContaining({ kind: 'OutputNotWritable' }));
});
