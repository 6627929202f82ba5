import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type ArtifactRef, artifactRefSchema } from '../../contracts/artifact.js';
import { type Bucket, collect } from './bucket.js';

const pinSchema = z.object({
  schemaVersion: z.literal(1),
  workflowId: z.string(),
  runId: z.string(),
  pinnedAt: z.iso.datetime(),
  refs: z.array(artifactRefSchema),
});

/** A run whose artifacts stay until it is unpinned, whatever the server remembers of it. */
export type Pin = z.output<typeof pinSchema>;

/** Keeps a run's artifacts; pinning it again replaces what is kept. */
export async function pin(bucket: Bucket, run: Omit<Pin, 'schemaVersion'>): Promise<void> {
  const text = `${JSON.stringify({ schemaVersion: 1, ...run } satisfies Pin)}\n`;
  await bucket.put(keyOf(run.workflowId), [new TextEncoder().encode(text)]);
}

/** False when the run is not pinned. */
export async function unpin(bucket: Bucket, workflowId: string): Promise<boolean> {
  const isPinned = (await bucket.head(keyOf(workflowId))) !== null;
  await bucket.delete(keyOf(workflowId));
  return isPinned;
}

/** All pins. Throws an Error for one that cannot be read: what it kept would be collected. */
export async function listPins(bucket: Bucket): Promise<Pin[]> {
  const pins: Pin[] = [];
  for await (const { key } of bucket.list('pins/')) {
    const chunks = await bucket.read(key);
    if (chunks !== null) pins.push(pinSchema.parse(JSON.parse(new TextDecoder().decode(await collect(chunks)))));
  }
  return pins.sort((a, b) => (a.pinnedAt < b.pinnedAt ? -1 : 1));
}

/** What pinned runs keep. */
export async function pinnedRefs(bucket: Bucket): Promise<ArtifactRef[]> {
  return (await listPins(bucket)).flatMap(({ refs }) => refs);
}

/** Ids of runs have slashes. */
function keyOf(workflowId: string): string {
  return `pins/${createHash('sha256').update(workflowId).digest('hex').slice(0, 32)}.json`;
}
