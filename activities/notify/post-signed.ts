import { createHmac } from 'node:crypto';
import { NibbleflowError } from '../../contracts/errors.js';

/** A receiver that does not answer within this is tried again later. */
const TIMEOUT_MS = 10_000;
/** Answers that another try may change: too early, too many, and what is the receiver's fault. */
const PASSING = new Set([408, 425, 429]);

/** sha256=<hex> of HMAC-SHA256(key, body), as GitHub's webhooks have it. The time of sending is in the body. */
export function signatureOf(key: string, body: string): string {
  return `sha256=${createHmac('sha256', key).update(body).digest('hex')}`;
}

/**
 * Posts a JSON body with its signature; redirects are not followed. Messages name the receiver's host alone, since addresses may be secret.
 * @throws NibbleflowError ServerUnavailable when another try may help, InvalidInput when not
 */
export async function postSigned(
  url: string,
  key: string,
  { delivery, body }: { readonly delivery: string; readonly body: string },
  cancelled: AbortSignal,
): Promise<string> {
  const where = URL.canParse(url) ? new URL(url).host : 'the address';
  const response = await fetch(url, {
    method: 'POST',
    body,
    redirect: 'error',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'nibbleflow',
      'x-nibbleflow-delivery': delivery,
      'x-nibbleflow-signature': signatureOf(key, body),
    },
    signal: AbortSignal.any([cancelled, AbortSignal.timeout(TIMEOUT_MS)]),
  }).catch((error: unknown) => {
    throw new NibbleflowError('ServerUnavailable', `the webhook cannot be reached: ${reason(error)}`, { where });
  });
  await response.body?.cancel();
  if (response.ok) return `webhook answered ${response.status}`;
  const passing = response.status >= 500 || PASSING.has(response.status);
  throw new NibbleflowError(passing ? 'ServerUnavailable' : 'InvalidInput', `the webhook answered ${response.status}`, {
    where,
  });
}

/** `ECONNREFUSED`, `TimeoutError` …: codes and names only, since messages may hold the address. */
function reason(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: string; name?: string }; name?: string };
  return cause?.code ?? cause?.name ?? name ?? 'unknown';
}
