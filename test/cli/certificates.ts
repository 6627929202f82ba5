import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files of an authority made for a test, and of a server at 127.0.0.1 and a client that it vouches for. */
export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

/** Makes them in a folder with openssl. */
export function makeCertificates(folder: string): Certificates {
  const file = (name: string): string => join(folder, name);
  openssl('req', '-x509', ...newKey(file('ca.key')), '-subj', '/CN=nibbleflow test CA', '-out', file('ca.pem'));
  for (const [name, usage] of [
    ['server', 'extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,DNS:temporal.test'],
    ['client', 'extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client.test'],
  ] as const) {
    writeFileSync(file(`${name}.ext`), `basicConstraints=CA:FALSE\n${usage}\n`);
    openssl('req', ...newKey(file(`${name}.key`)), '-subj', `/CN=${name}`, '-out', file(`${name}.csr`));
    const authority = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial'];
    const extensions = ['-extfile', file(`${name}.ext`), '-days', '2'];
    openssl('x509', '-req', '-in', file(`${name}.csr`), ...authority, ...extensions, '-out', file(`${name}.pem`));
  }
  return {
    ca: file('ca.pem'),
    serverCert: file('server.pem'),
    serverKey: file('server.key'),
    clientCert: file('client.pem'),
    clientKey: file('client.key'),
  };
}

/** The text between the markers of a PEM file's first line, which must not appear in a log. */
export function secretPart(pemFile: string): string {
  return readFileSync(pemFile, 'utf8').split('\n')[1] ?? '';
}

function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file];
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' });
}
