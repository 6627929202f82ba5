import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../cli/load-config.js';

let folder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'nibbleflow-config-')));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const write = (text: string): Promise<void> => writeFile(join(folder, 'temporal.config.ts'), text);

describe('temporal.config.ts', () => {
  it('is found upwards, typed by nibbleflow/config, and decides the state folder', async () => {
    await write(
      "import { defineConfig } from 'nibbleflow/config';\nconst days: number = 7;\nexport default defineConfig({ devServer: { retentionDays: days } });\n",
    );
    await mkdir(join(folder, 'a', 'b'), { recursive: true });
    const loaded = await loadConfig(join(folder, 'a', 'b'), {});
    expect(loaded.config.devServer).toMatchObject({ retentionDays: 7, idleMinutes: 30, port: null });
    expect(loaded.stateDir).toBe(join(folder, '.nibbleflow'));
    expect(loaded.storeDir).toBe(join(folder, '.nibbleflow', 'store'));
  });

  it('is optional: the home folder keeps the state then, and NIBBLEFLOW_HOME goes before everything', async () => {
    expect((await loadConfig(folder, {})).stateDir).toBe(join(homedir(), '.nibbleflow'));
    await write("export default { stateDir: 'state', store: { dir: 'artifacts' } };\n");
    expect(await loadConfig(folder, {})).toMatchObject({
      stateDir: join(folder, 'state'),
      storeDir: join(folder, 'artifacts'),
    });
    expect((await loadConfig(folder, { NIBBLEFLOW_HOME: '/elsewhere' })).stateDir).toBe('/elsewhere');
  });

  it.each([
    ['an unknown setting', 'export default { devserver: {} };\n', 'did you mean devServer?'],
    ['an impossible port', 'export default { devServer: { port: 70000 } };\n', 'devServer.port'],
    ['code that throws', "throw new Error('broken on purpose');\n", 'broken on purpose'],
  ])('is refused with %s', async (_, text, message) => {
    await write(text);
    await expect(loadConfig(folder, {})).rejects.toMatchObject({
      kind: 'InvalidInput',
      message: expect.stringContaining(message),
    });
  });
});
