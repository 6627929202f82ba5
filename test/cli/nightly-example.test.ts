import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../cli/load-config.js';
import { cronOf } from '../../cli/nights/night-schedule.js';
import { wantedNights } from '../../cli/nights/night-specs.js';
import { packageRoot } from '../../cli/package-root.js';
import { clockChanges } from '../../contracts/night-times.js';

const EXAMPLE = join(packageRoot(), 'examples', 'nightly');

describe('the example of a nightly configuration', () => {
  it('is valid, holds no secret, and does as its comment says about clocks', async () => {
    const home = await mkdtemp(join(tmpdir(), 'nibbleflow-example-'));
    try {
      const loaded = await loadConfig(EXAMPLE, { NIBBLEFLOW_HOME: home });
      const [night] = await wantedNights(loaded);
      expect(night?.spec).toMatchObject({
        name: 'quality',
        timezone: 'Europe/Berlin',
        overlap: 'skip',
        limitHours: 20,
      });
      expect(night?.spec.pipelines.map(({ folder }) => folder)).toEqual([
        join(EXAMPLE, 'emoji-t2i-w4a4'),
        join(EXAMPLE, 'emoji-t2i-w4a8'),
      ]);
      expect(night?.warnings.length).toBeGreaterThan(0);
      expect(night?.spec.notify?.webhook?.url).toBeNull();
      const year = [Date.parse('2027-01-01T00:00:00Z'), Date.parse('2028-01-01T00:00:00Z')] as const;
      expect(clockChanges(cronOf(night?.spec.cron ?? ''), 'Europe/Berlin', ...year)).toEqual([]);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });

  it('comes with a unit that starts what exists', async () => {
    const unit = await readFile(join(EXAMPLE, 'nibbleflow.service'), 'utf8');
    expect(unit).toContain('ExecStart=/usr/bin/env npx nibbleflow up');
    expect(existsSync(join(packageRoot(), 'cli', 'commands', 'up.ts'))).toBe(true);
  });
});
