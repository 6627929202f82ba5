import { readFileSync } from 'node:fs';
import * as http2 from 'node:http2';
import { LOOPBACK } from '../../cli/server/ports.js';
import type { Certificates } from './certificates.js';

const PERMISSION_DENIED = '7';
const UNAUTHENTICATED = '16';

export interface ProxyRules {
  /** Speaks TLS with these; else plain. */
  readonly certificates?: Certificates;
  /** Asks clients for a certificate of that authority. */
  readonly clientCertificates?: boolean;
  /** Answers nobody without this key. */
  readonly apiKey?: string;
  /** Methods that nobody may call. */
  readonly forbidden?: readonly string[];
}

/** What stands before a Temporal server at a provider: an endpoint of TLS that checks keys and rights. */
export interface GrpcProxy {
  readonly address: string;
  /** `authorization` of every call; by method. */
  readonly calls: readonly { readonly method: string; readonly authorization: string | undefined }[];
  close(): Promise<void>;
}

/** Starts one before a plain server that listens on a port of loopback. */
export async function startGrpcProxy(port: number, rules: ProxyRules): Promise<GrpcProxy> {
  const calls: { method: string; authorization: string | undefined }[] = [];
  const upstream = http2.connect(`http://${LOOPBACK}:${port}`);
  upstream.on('error', () => undefined);
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = createServer(rules);
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => undefined);
    const method = String(headers[':path']).split('/').at(-1) ?? '';
    calls.push({ method, authorization: headers.authorization });
    const refusal = refuse(rules, method, headers.authorization);
    if (refusal === null) forward(stream, headers, upstream);
    else stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...refusal }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    address: `${LOOPBACK}:${address.port}`,
    calls,
    close: () =>
      new Promise<void>((resolve) => {
        upstream.destroy();
        for (const session of sessions) session.destroy();
        server.close(() => resolve());
      }),
  };
}

function createServer({ certificates, clientCertificates = false }: ProxyRules): http2.Http2Server {
  if (certificates === undefined) return http2.createServer();
  return http2.createSecureServer({
    key: readFileSync(certificates.serverKey),
    cert: readFileSync(certificates.serverCert),
    ca: readFileSync(certificates.ca),
    requestCert: clientCertificates,
    rejectUnauthorized: clientCertificates,
  });
}

function refuse(rules: ProxyRules, method: string, authorization: string | undefined): Record<string, string> | null {
  if (rules.apiKey !== undefined && authorization !== `Bearer ${rules.apiKey}`) {
    return { 'grpc-status': UNAUTHENTICATED, 'grpc-message': 'invalid key' };
  }
  if (rules.forbidden?.includes(method)) {
    return { 'grpc-status': PERMISSION_DENIED, 'grpc-message': 'Request unauthorized.' };
  }
  return null;
}

/** Passes a call on, with headers, messages and trailers as they come. */
function forward(
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
  upstream: http2.ClientHttp2Session,
): void {
  const { ':authority': _, ...rest } = headers;
  const request = upstream.request({ ...rest, ':scheme': 'http' });
  request.on('error', () => stream.destroy());
  stream.on('close', () => request.close(http2.constants.NGHTTP2_CANCEL));
  stream.pipe(request);
  let trailers: http2.OutgoingHttpHeaders = {};
  request.on('trailers', (found) => {
    trailers = found;
  });
  request.on('response', (found, flags) => {
    if ((flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0) return stream.respond(found, { endStream: true });
    stream.respond(found, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    request.pipe(stream);
  });
}
