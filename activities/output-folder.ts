import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { z } from 'zod';
import type { ArtifactRef } from '../contracts/artifact.js';
import { NibbleflowError } from '../contracts/errors.js';
import { isRelativePath, relativePathSchema } from '../contracts/relative-path.js';
import { asDiskError, atomicWrite } from './store/atomic-write.js';
import { digestOfFile, type LocalStore } from './store/local-store.js';

/** The file that makes a folder one of ours, and says what is in it. */
export const MANIFEST_FILE = 'manifest.json';

const ownManifestSchema = z.looseObject({
  generator: z.literal('nibbleflow'),
  /** What the folder is: a quantized pipeline unless it says otherwise. */
  kind: z.enum(['pipeline', 'evaluation']).default('pipeline'),
  files: z.record(relativePathSchema, z.looseObject({ digest: z.string() })),
});

export interface OutputFile {
  /** Relative, with forward slashes. */
  readonly path: string;
  readonly ref: ArtifactRef;
}

/**
 * Makes the output folder in one step: everything is written to a sibling folder, which then takes the place of an earlier
 * output. Throws OutputNotWritable for a folder that holds anything else, DiskFull; then nothing was changed.
 * @param id names the sibling folders: the same for every attempt at this output, which finds what a killed one left there
 */
export async function publishFolder(
  store: LocalStore,
  out: string,
  files: readonly OutputFile[],
  manifest: unknown,
  id: string,
): Promise<void> {
  const fresh = join(dirname(out), `.${basename(out)}.${id}.new`);
  const old = join(dirname(out), `.${basename(out)}.${id}.old`);
  await clearKilledAttempt(out, fresh, old);
  await refuseForeign(out, ownManifestSchema.pick({ kind: true }).parse(manifest).kind);
  try {
    await mkdir(fresh, { recursive: true });
    for (const { path, ref } of files) {
      if (!isRelativePath(path)) throw new RangeError(`${JSON.stringify(path)} leads out of the output folder`);
      await store.copyTo(ref, join(fresh, ...path.split('/')));
    }
    const text = `${JSON.stringify(manifest, null, 2)}\n`;
    await atomicWrite(join(fresh, MANIFEST_FILE), [new TextEncoder().encode(text)]);
    const replaced = await moved(out, old);
    await rename(fresh, out).catch(async (error: unknown) => {
      if (replaced) await rename(old, out);
      throw error;
    });
    await rm(old, { recursive: true, force: true });
  } catch (error) {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined);
    throw error instanceof NibbleflowError ? error : asDiskError(error, join(out, MANIFEST_FILE));
  }
}

/** True when every file that the folder's manifest lists is there with its digest. */
export async function isIntact(out: string): Promise<boolean> {
  const manifest = await ownManifest(out);
  if (manifest === undefined) return false;
  for (const [path, { digest }] of Object.entries(manifest.files)) {
    const found = await digestOfFile(join(out, ...path.split('/'))).catch(() => undefined);
    if (found !== digest) return false;
  }
  return true;
}

/** The manifest of a folder that nibbleflow wrote; undefined for any other. */
export async function ownManifest(out: string): Promise<z.infer<typeof ownManifestSchema> | undefined> {
  const text = await readFile(join(out, MANIFEST_FILE), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return ownManifestSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** What an output folder can be. */
export type OutputKind = z.infer<typeof ownManifestSchema>['kind'];

/**
 * Throws OutputNotWritable when the folder holds anything that is not an output of this kind, which publishing would replace.
 */
export async function refuseForeign(out: string, kind: OutputKind): Promise<void> {
  const found = await stat(out).catch(() => undefined);
  if (found === undefined) return;
  const other = (await ownManifest(out))?.kind;
  if (other !== undefined && other !== kind) {
    throw new NibbleflowError('OutputNotWritable', `the output folder holds a nibbleflow ${other}`, {
      where: out,
      fix: 'Choose another folder with --out: it would be replaced.',
    });
  }
  const foreign = found.isDirectory() ? await foreignFile(out) : '';
  if (foreign === undefined) return;
  const what =
    foreign === ''
      ? 'the output is a file'
      : `the output folder holds a file that nibbleflow did not write: ${foreign}`;
  throw new NibbleflowError('OutputNotWritable', what, {
    where: out,
    fix: 'Choose another folder with --out, or empty this one.',
  });
}

/** Path of the first file that the folder's manifest does not list; undefined when there is none. */
async function foreignFile(out: string): Promise<string | undefined> {
  const manifest = await ownManifest(out);
  const own = new Set(manifest === undefined ? [] : [MANIFEST_FILE, ...Object.keys(manifest.files)]);
  const entries = await readdir(out, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(out, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort()
    .find((path) => !own.has(path));
}

/** An attempt that was killed between the two renames has moved the earlier output away: it comes back. */
async function clearKilledAttempt(out: string, fresh: string, old: string): Promise<void> {
  try {
    await rm(fresh, { recursive: true, force: true });
    const isThere = (await stat(out).catch(() => undefined)) !== undefined;
    if (isThere) await rm(old, { recursive: true, force: true });
    else await moved(old, out);
  } catch (error) {
    throw asDiskError(error, join(out, MANIFEST_FILE));
  }
}

async function moved(from: string, to: string): Promise<boolean> {
  return rename(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
}
