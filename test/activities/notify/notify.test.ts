import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { postSigned } from '../../../activities/notify/post-signed.js';
import { runWithInput } from '../../../activities/notify/run-with-input.js';

const NEVER = new AbortController().signal;
const message = { delivery: 'run/regression', body: '{"text":"ä, é and \\u0000"}' };

let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  server = createServer((request, response) => answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

describe('a signed webhook', () => {
  it('has a signature that the receiver can compute from the bytes it got', async () => {
    const got: { headers?: IncomingMessage['headers']; body?: Buffer } = {};
    answer = (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        Object.assign(got, { headers: request.headers, body: Buffer.concat(chunks) });
        response.writeHead(204).end();
      });
    };
    expect(await postSigned(url, 'key', message, NEVER)).toBe('webhook answered 204');
    const expected = createHmac('sha256', 'key')
      .update(got.body ?? '')
      .digest('hex');
    expect(got.headers).toMatchObject({
      'content-type': 'application/json',
      'x-nibbleflow-delivery': message.delivery,
      'x-nibbleflow-signature': `sha256=${expected}`,
    });
    expect(got.body?.toString()).toBe(message.body);
  });

  it.each([
    [500, 'ServerUnavailable'],
    [429, 'ServerUnavailable'],
    [404, 'InvalidInput'],
    [401, 'InvalidInput'],
  ])('that is answered with %i is %s', async (status, kind) => {
    answer = (_, response) => response.writeHead(status).end();
    await expect(postSigned(url, 'key', message, NEVER)).rejects.toMatchObject({ kind });
  });

  it('follows no redirect, and says the host alone when nobody answers', async () => {
    let elsewhere = 0;
    answer = ({ url: path }, response) => {
      if (path === '/elsewhere') elsewhere += 1;
      response.writeHead(307, { location: '/elsewhere' }).end();
    };
    await expect(postSigned(url, 'key', message, NEVER)).rejects.toMatchObject({ kind: 'ServerUnavailable' });
    expect(elsewhere).toBe(0);
    server.close();
    server.closeAllConnections();
    const error = await postSigned(url, 'key', message, NEVER).catch((caught: Error) => caught);
    expect(String(error)).toContain('ECONNREFUSED');
    expect(String(error)).not.toContain('secret-path');
    const broken = await postSigned('secret without scheme', 'key', message, NEVER).catch((caught: Error) => caught);
    expect(broken).toMatchObject({ kind: 'ServerUnavailable' });
    expect(String(broken)).not.toContain('secret without scheme');
  });
});

describe('a command', () => {
  const node = (code: string, ...args: string[]): string[] => [process.execPath, '-e', code, ...args];

  it('gets the message on stdin and its arguments as they are: there is no shell', async () => {
    const check =
      'const t=require("fs").readFileSync(0,"utf8");process.exit(t==="hello\\n"&&process.argv[1]==="$(id);*"?0:9)';
    expect(await runWithInput(node(check, '$(id);*'), 'hello\n', NEVER)).toBe('command ended with 0');
  });

  it('that fails may be tried again, one that cannot be started may not', async () => {
    const failing = node('console.error("no such channel");process.exit(3)');
    await expect(runWithInput(failing, 'x'.repeat(1 << 20), NEVER)).rejects.toMatchObject({
      kind: 'ServerUnavailable',
      message: expect.stringContaining('ended with 3: no such channel'),
    });
    await expect(runWithInput(['/nowhere/notify'], '', NEVER)).rejects.toMatchObject({ kind: 'InvalidInput' });
  });

  it('is killed when the run is cancelled', async () => {
    const cancel = new AbortController();
    const waiting = runWithInput(node('process.stderr.write("x");setInterval(()=>{},1000)'), '', cancel.signal);
    cancel.abort();
    await expect(waiting).rejects.toMatchObject({ kind: 'ServerUnavailable' });
  });
});
