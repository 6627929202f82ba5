import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { MANIFEST_FILE, ownManifest } from '../activities/output-folder.js';
import { promptsDigest } from '../activities/prompts-digest.js';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import { PICTURES_FILE, type PictureScores, pictureScoresSchema, SCORES_FILE } from '../contracts/picture-scores.js';
import { type Score, scoreSchema } from '../contracts/score.js';
import type { ComparedSide, EvaluationFacts } from '../evaluation/compare/comparison.js';

/** What scores.json holds. */
export const scoresSchema = z.array(scoreSchema);

const namedSchema = z.looseObject({ name: z.string(), digest: z.string() });

/** What comparing reads of the manifests of both kinds of output folder; the rest is kept as it is. */
const manifestSchema = z.looseObject({
  kind: z.string().optional(),
  input: z.looseObject({ pipeline: z.string(), digest: z.string() }).optional(),
  recipe: z
    .looseObject({
      evaluation: z.looseObject({ seed: z.number(), timestepPairs: z.number().optional() }),
      sampling: z.looseObject({ steps: z.number(), guidance: z.number().nullable() }),
    })
    .optional(),
  protocol: z
    .looseObject({
      seed: z.number(),
      sampling: z.looseObject({ steps: z.number(), guidance: z.number().nullable() }),
      resize: z.string(),
      timestepPairs: z.number().optional(),
      settings: z.unknown(),
    })
    .optional(),
  candidate: namedSchema.optional(),
  against: namedSchema.nullish(),
  reference: namedSchema.nullish(),
  prompts: z.looseObject({ digest: z.string() }).optional(),
  size: z.looseObject({ quantizedBytes: z.number() }).nullish(),
  files: z.record(z.string(), z.looseObject({ sizeBytes: z.number().optional() })),
});
type Manifest = z.output<typeof manifestSchema>;

/** Members of a manifest that are not settings: what came out, and which run it was. */
const OUTCOMES: ReadonlySet<string> = new Set([
  'generator',
  'schemaVersion',
  'kind',
  'run',
  'artifacts',
  'scores',
  'files',
  'layers',
  'size',
]);

/**
 * An output folder of quantize or evaluate, or a scores.json, as one side of a comparison.
 * @throws NibbleflowError InvalidInput for a folder without scores, and for files that are not what they should be
 */
export async function readComparedFolder(path: string): Promise<ComparedSide> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined)
    throw new NibbleflowError('InvalidInput', 'there is no such file or folder', { where: path });
  if (found.isFile()) return scoresOnly(path, await readJson(path, scoresSchema));
  const scoresPath = join(path, SCORES_FILE);
  if ((await stat(scoresPath).catch(() => undefined)) === undefined) {
    throw new NibbleflowError('InvalidInput', `the folder has no ${SCORES_FILE}`, {
      where: path,
      fix: 'Name an output folder of `nibbleflow quantize` or `nibbleflow evaluate`; one of an older version is made again by the same command.',
    });
  }
  const scores = await readJson(scoresPath, scoresSchema);
  if ((await ownManifest(path)) === undefined) return scoresOnly(path, scores);
  const manifest = await readJson(join(path, MANIFEST_FILE), manifestSchema);
  const hasPictures = (await stat(join(path, PICTURES_FILE)).catch(() => undefined)) !== undefined;
  const pictures = hasPictures ? await readJson(join(path, PICTURES_FILE), pictureScoresSchema) : null;
  return {
    label: basename(resolve(path)),
    kind: manifest.kind === 'evaluation' ? 'evaluation' : 'quantization',
    scores,
    pictures,
    facts: factsOf(manifest, pictures),
    settings: Object.fromEntries(Object.entries(manifest).filter(([name]) => !OUTCOMES.has(name))),
    bytes: denoiserBytes(manifest),
    seconds: null,
  };
}

function scoresOnly(path: string, scores: readonly Score[]): ComparedSide {
  const nothing = { pictures: null, facts: {}, settings: {}, bytes: null, seconds: null };
  return { label: basename(resolve(path)), kind: 'scores', scores, ...nothing };
}

function factsOf(manifest: Manifest, pictures: PictureScores | null): EvaluationFacts {
  const { recipe, protocol, input, against, reference } = manifest;
  const seed = protocol?.seed ?? recipe?.evaluation.seed;
  const sampling = protocol?.sampling ?? recipe?.sampling;
  const timestepPairs = protocol?.timestepPairs ?? recipe?.evaluation.timestepPairs;
  const float = against?.digest ?? input?.digest;
  const prompts = pictures === null ? manifest.prompts?.digest : promptsDigest(pictures.prompts);
  return {
    ...(seed === undefined ? {} : { seed }),
    ...(sampling === undefined ? {} : { steps: sampling.steps, guidance: sampling.guidance }),
    ...(timestepPairs === undefined ? {} : { timestepPairs }),
    ...(prompts === undefined ? {} : { prompts }),
    ...(float === undefined ? {} : { float }),
    ...(protocol === undefined
      ? {}
      : {
          reference: reference?.digest ?? null,
          resize: protocol.resize,
          settings: canonicalJson(protocol.settings),
        }),
  };
}

function denoiserBytes({ files, size }: Manifest): number | null {
  if (size) return size.quantizedBytes;
  const sizes = Object.entries(files).flatMap(([path, { sizeBytes }]) =>
    /^(unet|transformer)\//.test(path) && !path.endsWith('.json') ? [sizeBytes ?? 0] : [],
  );
  return sizes.length === 0 ? null : sizes.reduce((sum, size) => sum + size, 0);
}

/** A JSON file that must fit its schema. @throws NibbleflowError InvalidInput */
async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new NibbleflowError('InvalidInput', `the file cannot be read: ${error.message}`, { where: path });
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new NibbleflowError('InvalidInput', 'the file is not JSON', { where: path });
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  throw new NibbleflowError(
    'InvalidInput',
    `the file is not one of nibbleflow’s: ${issue?.path.join('.') || 'its value'}: ${issue?.message}`,
    { where: path, fix: `A ${SCORES_FILE} holds the array that --output json of score and evaluate prints.` },
  );
}
