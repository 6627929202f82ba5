import type { ClientConfigProfile } from '@temporalio/envconfig';
import { isSettings } from './layered-settings.js';
import type { LoadedConfig } from './load-config.js';
import { connectionProfiles } from './server/connection.js';

/** Where a setting's value came from, in the order of precedence: the first that says something wins. */
export type Origin = 'flag' | 'environment' | 'profile' | 'config file' | 'default';

/** One setting with the value that counts. */
export interface SettingRow {
  readonly name: string;
  /** Of a secret only whether it is set. */
  readonly value: unknown;
  readonly secret: boolean;
  readonly origin: Origin;
  /** The flag, variable or file; null for defaults. */
  readonly where: string | null;
}

/** A setting of temporal.config.ts whose value that counts is not in the file: a variable overrides it, a folder follows. */
interface Override {
  readonly variable?: string;
  readonly flag?: string;
  readonly effective: (loaded: LoadedConfig) => unknown;
}

const OVERRIDES: Readonly<Record<string, Override>> = {
  stateDir: { variable: 'NIBBLEFLOW_HOME', effective: ({ stateDir }) => stateDir },
  'store.url': { variable: 'NIBBLEFLOW_STORE', effective: ({ storeUrl }) => storeUrl },
  'store.dir': { effective: ({ storeDir }) => storeDir },
  offline: { variable: 'NIBBLEFLOW_OFFLINE', flag: '--offline', effective: ({ config }) => config.offline },
};

interface ConnectionRow {
  readonly name: string;
  /** Any of them sets it. */
  readonly variables: readonly string[];
  readonly read: (profile: ClientConfigProfile) => unknown;
  readonly secret?: true;
  readonly otherwise: unknown;
}

const CONNECTION: readonly ConnectionRow[] = [
  {
    name: 'address',
    variables: ['TEMPORAL_ADDRESS'],
    read: ({ address }) => address,
    otherwise: null,
  },
  { name: 'namespace', variables: ['TEMPORAL_NAMESPACE'], read: ({ namespace }) => namespace, otherwise: 'default' },
  { name: 'apiKey', variables: ['TEMPORAL_API_KEY'], read: ({ apiKey }) => apiKey, secret: true, otherwise: null },
  {
    name: 'tls',
    variables: ['TEMPORAL_TLS'],
    read: ({ tls, apiKey }) => (tls === undefined ? (apiKey === undefined ? undefined : true) : tls.disabled !== true),
    otherwise: false,
  },
  {
    name: 'tls.serverName',
    variables: ['TEMPORAL_TLS_SERVER_NAME'],
    read: ({ tls }) => tls?.serverName,
    otherwise: null,
  },
  {
    name: 'tls.serverCaCert',
    variables: ['TEMPORAL_TLS_SERVER_CA_CERT_PATH', 'TEMPORAL_TLS_SERVER_CA_CERT_DATA'],
    read: ({ tls }) => certificate(tls?.serverCACert),
    otherwise: null,
  },
  {
    name: 'tls.clientCert',
    variables: ['TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_CERT_DATA'],
    read: ({ tls }) => certificate(tls?.clientCert),
    otherwise: null,
  },
  {
    name: 'tls.clientKey',
    variables: ['TEMPORAL_TLS_CLIENT_KEY_PATH', 'TEMPORAL_TLS_CLIENT_KEY_DATA'],
    read: ({ tls }) => tls?.clientKey,
    secret: true,
    otherwise: null,
  },
];

/** Variables that belong to no setting of a file. */
const VARIABLES: readonly { readonly name: string; readonly secret?: true }[] = [
  { name: 'TEMPORAL_CONFIG_FILE' },
  { name: 'TEMPORAL_PROFILE' },
  { name: 'TEMPORAL_CLI_PATH' },
  { name: 'NIBBLEFLOW_CACHE' },
  { name: 'AWS_REGION' },
  { name: 'AWS_PROFILE' },
  { name: 'AWS_ACCESS_KEY_ID', secret: true },
  { name: 'AWS_SECRET_ACCESS_KEY', secret: true },
  { name: 'AWS_SESSION_TOKEN', secret: true },
];

/** Every setting with its value and origin. Throws InvalidInput for a connection that cannot be. */
export async function configOrigins(
  loaded: LoadedConfig,
  env: NodeJS.ProcessEnv,
  flags: readonly string[],
): Promise<SettingRow[]> {
  return [
    ...leaves(loaded.config, []).map(({ path, value }) => fileRow(loaded, env, flags, path, value)),
    ...(await connectionRows(env)),
    ...VARIABLES.map(({ name, secret = false }): SettingRow => {
      const value = env[name] || null;
      const origin = value === null ? 'default' : 'environment';
      const where = value === null ? null : name;
      return { name: `environment.${name}`, value: shown(value, secret), secret, origin, where };
    }),
  ];
}

function fileRow(
  loaded: LoadedConfig,
  env: NodeJS.ProcessEnv,
  flags: readonly string[],
  path: readonly string[],
  value: unknown,
): SettingRow {
  const name = path.join('.');
  const secret = isSecretName(path.at(-1) ?? '');
  const override = OVERRIDES[name];
  const effective = override === undefined ? value : override.effective(loaded);
  const row = { name, value: shown(effective, secret), secret };
  if (override?.flag !== undefined && flags.includes(override.flag)) {
    return { ...row, origin: 'flag', where: override.flag };
  }
  if (override?.variable !== undefined && env[override.variable]) {
    return { ...row, origin: 'environment', where: override.variable };
  }
  return isGiven(loaded.given, path)
    ? { ...row, origin: 'config file', where: loaded.file }
    : { ...row, origin: 'default', where: null };
}

async function connectionRows(env: NodeJS.ProcessEnv): Promise<SettingRow[]> {
  const { merged, fromFile, profile } = await connectionProfiles(env);
  const rows = CONNECTION.map(({ name, variables, read, secret = false, otherwise }): SettingRow => {
    const value = read(merged);
    const variable = variables.find((one) => env[one]);
    const row = { name: `connection.${name}`, value: shown(value ?? otherwise, secret), secret };
    if (variable !== undefined) return { ...row, origin: 'environment', where: variable };
    if (read(fromFile) !== undefined) return { ...row, origin: 'profile', where: profile };
    // A certificate or an API key turns TLS on.
    const implied = value === undefined ? undefined : variablesOf('TEMPORAL_TLS', env)[0];
    if (implied !== undefined) return { ...row, origin: 'environment', where: implied };
    return { ...row, origin: 'default', where: null };
  });
  const headers = Object.keys(merged.grpcMeta ?? {}).map((header): SettingRow => {
    const variable = variablesOf('TEMPORAL_GRPC_META_', env).find((one) => headerName(one) === header);
    const origin = variable === undefined ? 'profile' : 'environment';
    return { name: `connection.grpcMeta.${header}`, value: 'set', secret: true, origin, where: variable ?? profile };
  });
  return [...rows, ...headers];
}

/** The set variables of a prefix; an API key counts among those of TLS. */
function variablesOf(prefix: string, env: NodeJS.ProcessEnv): string[] {
  const names = Object.keys(env).filter((name) => name.startsWith(prefix) && env[name]);
  return prefix === 'TEMPORAL_TLS' && env.TEMPORAL_API_KEY ? [...names, 'TEMPORAL_API_KEY'] : names;
}

/** As @temporalio/envconfig names it. */
function headerName(variable: string): string {
  return variable.slice('TEMPORAL_GRPC_META_'.length).toLowerCase().replace('_', '-');
}

function certificate(source: { path: string } | { data: unknown } | undefined): string | undefined {
  if (source === undefined) return undefined;
  return 'path' in source ? source.path : '(inline)';
}

/** Settings that are not mappings, with their paths. */
function leaves(value: unknown, path: readonly string[]): { path: readonly string[]; value: unknown }[] {
  if (!isSettings(value) || Object.keys(value).length === 0) return [{ path, value }];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}

function isGiven(given: unknown, path: readonly string[]): boolean {
  let current = given;
  for (const key of path) {
    if (!isSettings(current) || current[key] === undefined) return false;
    current = current[key];
  }
  return true;
}

/** `secret`, `apiKey`, `secretAccessKey`, `token`, `password` … but neither `monkeys` nor `keyPrefix`. */
function isSecretName(name: string): boolean {
  return (
    /(secret|token|password|credential|[a-z]Key$|^key$|authorization)/i.test(name) && !/(Env|Variable|File)$/.test(name)
  );
}

/** What may be shown of a value: of secrets whether they are set, of URLs neither users nor the paths that hooks hide tokens in. */
function shown(value: unknown, secret: boolean): unknown {
  if (secret) return value === null || value === undefined ? 'not set' : 'set';
  if (Array.isArray(value)) return value.map((inner) => shown(inner, false));
  if (isSettings(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shown(inner, isSecretName(key))]));
  }
  return typeof value === 'string' ? shownText(value) : value;
}

function shownText(text: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text) || !URL.canParse(text)) return text;
  const { protocol, host, pathname, search, username } = new URL(text);
  const user = username === '' ? '' : '…@';
  const isWeb = protocol === 'http:' || protocol === 'https:';
  const path = isWeb ? (pathname.length > 1 || search !== '' ? '/…' : '') : `${pathname}${search}`;
  return `${protocol}//${user}${host}${path}`;
}
