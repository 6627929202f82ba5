import type { Client, Connection } from '@temporalio/client';
import type { ClientConfigProfile } from '@temporalio/envconfig';
import { NibbleflowError } from '../../contracts/errors.js';

/** Connection settings of the environment: the TOML profiles and TEMPORAL_* variables of the `temporal` CLI. */
export interface ConnectionSettings {
  /** null: no server is configured, ours is used. */
  readonly address: string | null;
  readonly namespace: string;
  /** TLS, API key and metadata, as the SDK's connections take them. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** How long a configured server may take to answer. */
const CONNECT_TIMEOUT_MS = 6_000;

/** Reads the environment and the TOML profile. Throws InvalidInput, for example for an unknown profile. */
export async function connectionSettings(env: NodeJS.ProcessEnv = process.env): Promise<ConnectionSettings> {
  const { loadClientConnectConfig } = await import('@temporalio/envconfig');
  return orInvalid(() => {
    const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars: setVariables(env) });
    const { address, ...options } = connectionOptions;
    return { address: address ?? null, namespace: namespace ?? 'default', options: { ...options } };
  });
}

/** The profile that counts, and what its file alone says. Throws InvalidInput. */
export async function connectionProfiles(env: NodeJS.ProcessEnv): Promise<{
  readonly merged: ClientConfigProfile;
  readonly fromFile: ClientConfigProfile;
  /** Name of the profile. */
  readonly profile: string;
}> {
  const { loadClientConfigProfile } = await import('@temporalio/envconfig');
  return orInvalid(() => {
    const overrideEnvVars = setVariables(env);
    const merged = loadClientConfigProfile({ overrideEnvVars });
    const fromFile = loadClientConfigProfile({ overrideEnvVars, disableEnv: true });
    return { merged, fromFile, profile: overrideEnvVars.TEMPORAL_PROFILE ?? 'default' };
  });
}

/** A variable that is set to nothing counts as not set, as in a shell; an empty header removes the profile's. */
function setVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env).flatMap(([name, value]) =>
    value === undefined || (value === '' && !name.startsWith('TEMPORAL_GRPC_META_')) ? [] : [[name, value] as const],
  );
  return Object.fromEntries(entries);
}

function orInvalid<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new NibbleflowError('InvalidInput', `the Temporal connection settings are not valid: ${message}`, {
      fix: 'Check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the other TEMPORAL_* variables.',
      cause: error,
    });
  }
}

/** An open client; close `connection` when done. */
export interface OpenClient {
  readonly client: Client;
  readonly connection: Connection;
}

/** Connects to a server. Throws ServerUnavailable when nobody answers within a few seconds. */
export async function openClient(
  target: { readonly address: string; readonly namespace: string },
  options: Readonly<Record<string, unknown>> = {},
  timeoutMs: number = CONNECT_TIMEOUT_MS,
): Promise<OpenClient> {
  const { Client, Connection } = await import('@temporalio/client');
  try {
    const connection = await Connection.connect({ ...options, address: target.address, connectTimeout: timeoutMs });
    return { connection, client: new Client({ connection, namespace: target.namespace }) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new NibbleflowError('ServerUnavailable', `no Temporal server answers: ${message}`, {
      where: target.address,
      fix: 'Start it, correct TEMPORAL_ADDRESS (or the profile), or unset it to let nibbleflow start its own server.',
      cause: error,
    });
  }
}
