import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configOrigins, type SettingRow } from '../../cli/config-origins.js';
import { loadConfig } from '../../cli/load-config.js';
import { connectionSettings } from '../../cli/server/connection.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-origins-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Rows by name, under nothing but these variables. */
async function rowsUnder(env: Record<string, string>, flags: readonly string[] = []): Promise<Map<string, SettingRow>> {
  const rows = await configOrigins(await loadConfig(folder, env), env, flags);
  return new Map(rows.map((row) => [row.name, row]));
}

const config = (text: string): Promise<void> => writeFile(join(folder, 'temporal.config.ts'), text);

describe('the origin of a setting', () => {
  it('is the default, the config file, a variable or a flag, whichever goes before the others', async () => {
    await config('export default { offline: false, devServer: { idleMinutes: 5 } };\n');
    const file = join(folder, 'temporal.config.ts');
    const rows = await rowsUnder({ NIBBLEFLOW_HOME: join(folder, 'home') });
    expect(rows.get('devServer.idleMinutes')).toMatchObject({ value: 5, origin: 'config file', where: file });
    expect(rows.get('devServer.retentionDays')).toMatchObject({ value: 90, origin: 'default', where: null });
    expect(rows.get('stateDir')).toMatchObject({
      value: join(folder, 'home'),
      origin: 'environment',
      where: 'NIBBLEFLOW_HOME',
    });
    expect(rows.get('offline')).toMatchObject({ value: false, origin: 'config file' });
    const forced = { NIBBLEFLOW_OFFLINE: '1' };
    expect((await rowsUnder(forced)).get('offline')).toMatchObject({ value: true, origin: 'environment' });
    const flagged = await rowsUnder(forced, ['--offline']);
    expect(flagged.get('offline')).toMatchObject({ value: true, origin: 'flag', where: '--offline' });
  });

  it('is the profile of the temporal CLI unless a variable says otherwise', async () => {
    const toml = join(folder, 'temporal.toml');
    await writeFile(
      toml,
      '[profile.lab]\naddress = "lab:7233"\nnamespace = "quant"\n[profile.lab.grpc_meta]\nteam = "pixels"\n',
    );
    const env = { TEMPORAL_CONFIG_FILE: toml, TEMPORAL_PROFILE: 'lab', TEMPORAL_NAMESPACE: 'other' };
    const rows = await rowsUnder(env);
    expect(rows.get('connection.address')).toMatchObject({ value: 'lab:7233', origin: 'profile', where: 'lab' });
    expect(rows.get('connection.namespace')).toMatchObject({ value: 'other', origin: 'environment' });
    expect(rows.get('connection.tls')).toMatchObject({ value: false, origin: 'default' });
    expect(rows.get('connection.grpcMeta.team')).toMatchObject({ value: 'set', origin: 'profile' });
    expect(rows.get('environment.TEMPORAL_PROFILE')).toMatchObject({ value: 'lab', origin: 'environment' });
  });

  it('of a connection without any is the default, and an empty variable is none', async () => {
    const env = { TEMPORAL_ADDRESS: '', TEMPORAL_API_KEY: '', HOME: folder };
    const rows = await rowsUnder(env);
    expect(rows.get('connection.address')).toMatchObject({ value: null, origin: 'default' });
    expect(rows.get('connection.apiKey')).toMatchObject({ value: 'not set', origin: 'default' });
    expect(await connectionSettings(env)).toMatchObject({ address: null, options: { tls: undefined } });
  });
});

describe('secrets', () => {
  it('are only said to be set: keys, tokens, headers, and what URLs hide', async () => {
    const secret = 'hush-hush-4711';
    const toml = join(folder, 'temporal.toml');
    await writeFile(toml, `[profile.default.grpc_meta]\nx-token = "${secret}"\n[profile.default.tls]\n`);
    const env = {
      TEMPORAL_CONFIG_FILE: toml,
      TEMPORAL_ADDRESS: `https://user:${secret}@temporal.example/${secret}?k=${secret}`,
      TEMPORAL_API_KEY: secret,
      TEMPORAL_TLS_CLIENT_KEY_DATA: secret,
      AWS_SECRET_ACCESS_KEY: secret,
    };
    const rows = await rowsUnder(env);
    expect(JSON.stringify([...rows.values()])).not.toContain(secret);
    for (const name of ['connection.apiKey', 'connection.tls.clientKey', 'environment.AWS_SECRET_ACCESS_KEY']) {
      expect(rows.get(name)).toMatchObject({ value: 'set', secret: true, origin: 'environment' });
    }
    expect(rows.get('connection.tls')).toMatchObject({ value: true });
    expect(rows.get('environment.AWS_SESSION_TOKEN')).toMatchObject({ value: 'not set', origin: 'default' });
  });
});
