/** Names of environment variables whose values are secrets. */
const SECRET_NAME = /KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL/i;
/** Shorter values hide nothing, and would be found everywhere. */
const SHORTEST_SECRET = 8;
/** `user:password@` of a URL. */
const URL_LOGIN = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi;
/** The value of an Authorization header. */
const AUTHORIZATION = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/g;

/** Replaces what looks like a secret, and every value of an environment variable that is named like one. */
export function redactSecrets(text: string, env: NodeJS.ProcessEnv = process.env): string {
  const values = Object.entries(env)
    .filter(([name, value]) => SECRET_NAME.test(name) && (value?.length ?? 0) >= SHORTEST_SECRET)
    .flatMap(([, value = '']) => [value, JSON.stringify(value).slice(1, -1)]);
  const shown = text.replace(URL_LOGIN, '$1[redacted]@').replace(AUTHORIZATION, '$1 [redacted]');
  return values.reduce((masked, value) => masked.replaceAll(value, '[redacted]'), shown);
}
