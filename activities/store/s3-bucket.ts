import { type FileHandle, open } from 'node:fs/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { type Bucket, type BucketEntry, joinChunks } from './bucket.js';
import { asStoreError, isMissing } from './s3-errors.js';
import { keySegments } from './store-keys.js';
import type { S3Location } from './store-url.js';

type Sdk = typeof import('@aws-sdk/client-s3');

/** Files above this are put in parts. S3 takes 5 GB at once and 10,000 parts at most. */
const PART_BYTES = 16 * 2 ** 20;
const MOST_PARTS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Without a byte for this long a request is tried again. */
const IDLE_TIMEOUT_MS = 60_000;
const ATTEMPTS = 4;

/**
 * An S3 bucket, or whatever speaks its protocol. Credentials come from the AWS chain alone (AWS_* variables, profiles, roles).
 * The client is loaded by the first call, so that nobody pays for it who keeps artifacts in a folder.
 */
export class S3Bucket implements Bucket {
  private readonly sdk: Sdk;
  private readonly client: S3Client;
  readonly url: string;

  constructor(
    sdk: Sdk,
    private readonly location: S3Location,
  ) {
    this.sdk = sdk;
    this.url = `s3://${[location.bucket, location.prefix].filter((part) => part !== '').join('/')}`;
    this.client = new sdk.S3Client({
      ...(location.region === null ? {} : { region: location.region }),
      ...(location.endpoint === null ? {} : { endpoint: location.endpoint }),
      forcePathStyle: location.pathStyle,
      maxAttempts: ATTEMPTS,
      // Servers that only speak the protocol know no trailing checksums; bytes are verified by sha256 when they come back.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: CONNECT_TIMEOUT_MS, socketTimeout: IDLE_TIMEOUT_MS },
    });
  }

  async check(): Promise<void> {
    const { ListObjectsV2Command } = this.sdk;
    await this.asked(() => this.client.send(new ListObjectsV2Command({ ...this.place, MaxKeys: 1 })));
  }

  async head(key: string): Promise<BucketEntry | null> {
    const { HeadObjectCommand } = this.sdk;
    const found = await this.asked(() => this.client.send(new HeadObjectCommand(this.at(key))).catch(absent));
    if (found === null) return null;
    return { key, sizeBytes: found.ContentLength ?? 0, modifiedAt: found.LastModified?.getTime() ?? 0 };
  }

  async read(key: string): Promise<AsyncIterable<Uint8Array> | null> {
    const { GetObjectCommand } = this.sdk;
    const found = await this.asked(() => this.client.send(new GetObjectCommand(this.at(key))).catch(absent));
    if (found === null) return null;
    return this.chunks(found.Body as AsyncIterable<Uint8Array> | undefined);
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<void> {
    const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    const part = async (start: number, end: number): Promise<Uint8Array> => sliceOf(chunks, start, end);
    await this.putParts(key, sizeBytes, part);
  }

  async putFile(key: string, path: string, sizeBytes: number): Promise<void> {
    const file = await open(path, 'r');
    try {
      await this.putParts(key, sizeBytes, (start, end) => bytesOf(file, start, end));
    } finally {
      await file.close();
    }
  }

  async *list(prefix: string): AsyncGenerator<BucketEntry> {
    const { ListObjectsV2Command } = this.sdk;
    let token: string | undefined;
    do {
      const input = { ...this.place, Prefix: this.name(prefix), ContinuationToken: token };
      const page = await this.asked(() => this.client.send(new ListObjectsV2Command(input)));
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        const key = Key.slice(this.name('').length);
        yield { key, sizeBytes: Size, modifiedAt: LastModified?.getTime() ?? 0 };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(key: string): Promise<void> {
    const { DeleteObjectCommand } = this.sdk;
    await this.asked(() => this.client.send(new DeleteObjectCommand(this.at(key))).catch(absent));
  }

  /** One part in memory at a time, so that a part that was lost on the way can be sent again. */
  private async putParts(
    key: string,
    sizeBytes: number,
    part: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<void> {
    const { PutObjectCommand } = this.sdk;
    if (sizeBytes > PART_BYTES) return this.putLarge(key, sizeBytes, part);
    const Body = await part(0, sizeBytes);
    await this.asked(() => this.client.send(new PutObjectCommand({ ...this.at(key), Body })));
  }

  private async putLarge(
    key: string,
    sizeBytes: number,
    part: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<void> {
    const sdk = this.sdk;
    const length = Math.max(PART_BYTES, Math.ceil(sizeBytes / MOST_PARTS));
    const place = this.at(key);
    const { UploadId } = await this.asked(() => this.client.send(new sdk.CreateMultipartUploadCommand(place)));
    try {
      const Parts: { ETag: string | undefined; PartNumber: number }[] = [];
      for (let start = 0; start < sizeBytes; start += length) {
        const PartNumber = Parts.length + 1;
        const input = { ...place, UploadId, PartNumber, Body: await part(start, Math.min(sizeBytes, start + length)) };
        const { ETag } = await this.asked(() => this.client.send(new sdk.UploadPartCommand(input)));
        Parts.push({ ETag, PartNumber });
      }
      const whole = { ...place, UploadId, MultipartUpload: { Parts } };
      await this.asked(() => this.client.send(new sdk.CompleteMultipartUploadCommand(whole)));
    } catch (error) {
      const aborted = new sdk.AbortMultipartUploadCommand({ ...place, UploadId });
      await this.client.send(aborted).catch(() => undefined);
      throw error;
    }
  }

  private async *chunks(body: AsyncIterable<Uint8Array> | undefined): AsyncGenerator<Uint8Array> {
    try {
      if (body !== undefined) yield* body;
    } catch (error) {
      throw asStoreError(error, this.url, this.location.endpoint);
    }
  }

  private async asked<T>(request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      throw asStoreError(error, this.url, this.location.endpoint);
    }
  }

  private get place() {
    return { Bucket: this.location.bucket };
  }

  private at(key: string) {
    keySegments(key);
    return { ...this.place, Key: this.name(key) };
  }

  private name(key: string): string {
    return this.location.prefix === '' ? key : `${this.location.prefix}/${key}`;
  }
}

function absent(error: unknown): null {
  if (isMissing(error)) return null;
  throw error;
}

/** Bytes `start` to `end` of a file. Throws an Error when it is shorter: what was not read must not be put as zeros. */
async function bytesOf(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.byteLength - done, start + done);
    if (bytesRead === 0) throw new Error(`a file to be stored ends after ${start + done} bytes, before ${end}`);
    done += bytesRead;
  }
  return bytes;
}

/** Bytes `start` to `end` of chunks that lie one behind the other. */
function sliceOf(chunks: readonly Uint8Array[], start: number, end: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const chunk of chunks) {
    const part = chunk.subarray(Math.max(0, start - offset), Math.max(0, end - offset));
    if (part.byteLength > 0) parts.push(part);
    offset += chunk.byteLength;
  }
  return joinChunks(parts);
}
