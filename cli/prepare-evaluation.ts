import { createHash } from 'node:crypto';
import { basename, join, resolve } from 'node:path';
import { extractorIdentity, storeExtractor } from '../activities/evaluation-extractor.js';
import { extractorsFolder, type FoundExtractor, findExtractor } from '../activities/extractor-folder.js';
import { featureOrigin } from '../activities/feature-protocol.js';
import { listPictureFiles } from '../activities/images/list-picture-files.js';
import { protocolDigest } from '../activities/protocol-digest.js';
import { openStatisticsFile } from '../activities/statistics-file.js';
import { digestFolder } from '../activities/store/folder-digest.js';
import { digestOfFile } from '../activities/store/local-store.js';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import { type EvaluationSpec, evaluationSpecSchema } from '../contracts/evaluation-activities.js';
import type { UnresolvedEvaluation } from '../contracts/night-activities.js';
import { FEWEST_FOR_DISTANCES, type Protocol } from '../contracts/protocol.js';
import type { Compute } from '../contracts/stages.js';
import { SET_METRICS } from '../evaluation/metrics/set-metrics.js';
import { refuseOtherOrigin } from '../evaluation/statistics/reference-statistics.js';
import { refuseFewPictures } from '../evaluation/statistics/refuse-few-pictures.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import { calibratedOn, leakNotes } from './calibrated-on.js';
import { type CheckedFolder, checkOutputFolder, checkPipelineFolder } from './check-folders.js';
import { evaluationPrompts } from './evaluation-prompts.js';
import { findFloatPipeline } from './find-float-pipeline.js';
import { folderFiles } from './folder-files.js';
import type { LoadedConfig } from './load-config.js';
import { loadProtocol } from './load-protocol.js';
import { openStore } from './open-store.js';
import { chooseCompute, nameForIds } from './prepare-run.js';
import { readOwnManifest } from './read-own-manifest.js';
import { pathKind } from './score-request.js';

/** What people ask for on the command line. */
export interface EvaluationRequest {
  readonly folder: string;
  readonly against?: string;
  readonly reference?: string;
  /** Built-in name or file. */
  readonly protocol: string;
  readonly samples?: string;
  readonly settings: readonly string[];
  readonly out?: string;
  readonly device?: string;
  readonly threads?: string;
}

/** As recipes have it, for a folder that does not say how it was quantized. */
const USUAL_GUIDANCE = 1.5;

/**
 * Turns a request into an evaluation's spec: checks folders, reference and protocol, draws the prompts. Needs no server and
 * starts nothing. Throws InvalidInput, InvalidModel or OutputNotWritable.
 */
export async function prepareEvaluation(
  request: EvaluationRequest,
  loaded: LoadedConfig,
  cwd: string,
): Promise<EvaluationSpec> {
  const samples = request.samples === undefined ? [] : [`samples=${request.samples}`];
  const protocol = await loadProtocol(request.protocol, [...request.settings, ...samples], cwd);
  const out = request.out ?? join(cwd, `${nameForIds(basename(resolve(request.folder)))}-evaluation`);
  const { folder, against = null, reference = null } = request;
  return resolveEvaluation(
    { folder, against, reference, protocol, out, compute: chooseCompute(request, loaded) },
    loaded,
  );
}

/** The part that looks at folders: a night does it when it runs. Throws InvalidInput, InvalidModel or OutputNotWritable. */
export async function resolveEvaluation(
  request: Omit<UnresolvedEvaluation, 'compute'> & { readonly compute: Compute },
  loaded: LoadedConfig,
): Promise<EvaluationSpec> {
  const candidate = await checkPipelineFolder(request.folder);
  const pipeline = pipelineOf(candidate);
  const manifest = await readOwnManifest(candidate.folder);
  const asked = request.protocol;
  const guidance = asked.sampling.guidance ?? manifest?.recipe?.sampling.guidance ?? USUAL_GUIDANCE;
  const protocol = { ...asked, sampling: { ...asked.sampling, guidance } };
  refuseTooFew(protocol);
  const float = request.against ?? (await findFloatPipeline(manifest));
  const against = float === undefined ? null : await floatFolder(float, pipeline);
  const calibrated = calibratedOn(pipeline, manifest);
  const extractor = await findExtractor(protocol.extractor, extractorsFolder(loaded.stateDir));
  const reference = request.reference === null ? null : await checkReference(request.reference, protocol, extractor);
  const prompts = await evaluationPrompts(pipeline, protocol, calibrated);
  const store = await openStore(loaded);
  const promptsRef = await store.putJson('file', prompts);
  return evaluationSpecSchema.parse({
    candidate: named(candidate),
    against: against && named(against),
    reference,
    protocol,
    protocolDigest: protocolDigest(protocol, extractorIdentity(extractor), promptsRef.digest, pipeline),
    extractor: await storeExtractor(store, extractor),
    prompts: promptsRef,
    notes: [
      ...leakNotes(calibrated, manifest, protocol).map((text) => ({ about: 'all', text })),
      ...(against === null
        ? []
        : componentNotes(candidate, against, pipeline).map((text) => ({ about: 'float', text }))),
    ],
    out: [candidate, against].reduce(
      (path, folder) => (folder === null ? path : checkOutputFolder(path, folder.folder)),
      request.out,
    ),
    compute: request.compute,
  });
}

/** `evaluate/<pipeline>/<protocol>/<digest8>`: the same request has the same id, so that it attaches to itself. */
export function evaluationIdOf(spec: EvaluationSpec): string {
  const digest = createHash('sha256').update(canonicalJson(spec)).digest('hex').slice(0, 8);
  return `evaluate/${spec.candidate.name}/${nameForIds(spec.protocol.name)}/${digest}`;
}

function named({ folder, digest }: CheckedFolder) {
  return { path: folder, digest, name: nameForIds(basename(folder)) };
}

function pipelineOf({ folder, files }: CheckedFolder): Pipeline {
  return readPipeline(
    folderFiles(
      folder,
      files.map(({ path }) => path),
    ),
  );
}

/** Throws InvalidInput for distances between sets that are too small for them. */
export function refuseTooFew({ metrics, samples }: Protocol): void {
  if (samples >= FEWEST_FOR_DISTANCES || !asksForDistances(metrics)) return;
  throw new NibbleflowError('InvalidInput', `distances between sets of ${samples} pictures mean nothing`, {
    where: 'samples',
    fix: `Take ${FEWEST_FOR_DISTANCES} at least, or same-seed scores alone: --set 'metrics=[lpips]'.`,
  });
}

function asksForDistances(metrics: readonly string[]): boolean {
  return SET_METRICS.some(({ id }) => metrics.includes(id));
}

/** Parts beside the denoiser that decide pictures, and are copied as they are when a denoiser is quantized. */
const OTHER_PARTS = { textEncoder: 'text encoder', tokenizer: 'tokenizer', vaeDecoder: 'VAE decoder' } as const;

/** A note when other parts than the denoiser differ in their bytes: what differs between pictures is then not the denoiser's alone. */
function componentNotes(candidate: CheckedFolder, float: CheckedFolder, pipeline: Pipeline): string[] {
  const own = pipelineOf(float);
  const parts = (Object.keys(OTHER_PARTS) as (keyof typeof OTHER_PARTS)[]).filter((part) => {
    const [left, right] = [pipeline[part]?.folder, own[part]?.folder];
    return canonicalJson(filesBelow(candidate, left)) !== canonicalJson(filesBelow(float, right));
  });
  if (parts.length === 0) return [];
  const named = parts.map((part) => OTHER_PARTS[part]).join(' and the ');
  return [
    `the ${named} differ from the float pipeline’s, too: pictures of equal seeds, and distances to float pictures, tell whole pipelines apart, not denoisers`,
  ];
}

/** Names and digests of a component's files; null for none. */
function filesBelow({ files }: CheckedFolder, component: string | undefined): unknown {
  if (component === undefined) return null;
  const inner = files.filter(({ path }) => path.startsWith(`${component}/`));
  return inner.map(({ path, digest }) => [path.slice(component.length), digest]);
}

/** Both sides must start from the same noise and walk the same steps. */
async function floatFolder(path: string, candidate: Pipeline): Promise<CheckedFolder> {
  const checked = await checkPipelineFolder(path);
  const float = pipelineOf(checked);
  const unlike = [
    ...(canonicalJson(float.schedulerConfig) === canonicalJson(candidate.schedulerConfig) ? [] : ['samplers']),
    ...(`${float.denoiser.sampleDims}` === `${candidate.denoiser.sampleDims}` ? [] : ['sizes of latents']),
    ...((float.textEncoder === null) === (candidate.textEncoder === null) ? [] : ['text encoders']),
    ...((float.vaeDecoder === null) === (candidate.vaeDecoder === null) ? [] : ['VAE decoders']),
  ];
  if (unlike.length === 0) return checked;
  throw new NibbleflowError('InvalidInput', `the pipelines differ in their ${unlike.join(' and ')}`, {
    where: checked.folder,
    fix: 'Compare a pipeline with the float one that it was made from.',
  });
}

async function checkReference(
  path: string,
  { resize, metrics }: Protocol,
  extractor: FoundExtractor,
): Promise<EvaluationSpec['reference']> {
  const kind = await pathKind(path, 'the reference');
  const place = { path: resolve(path), name: basename(resolve(path)) };
  if (kind === 'file') {
    const { statistics, close } = await openStatisticsFile(place.path);
    try {
      refuseOtherOrigin(statistics, featureOrigin(extractor, resize), place.path);
      refuseFewPictures(statistics, place.path);
    } finally {
      await close();
    }
    return { kind: 'statistics', ...place, digest: await digestOfFile(place.path) };
  }
  const { pictures } = await listPictureFiles(place.path);
  if (pictures.length < FEWEST_FOR_DISTANCES && asksForDistances(metrics)) {
    throw new NibbleflowError('InvalidInput', `the reference has ${pictures.length} pictures`, {
      where: place.path,
      fix: `Give a folder with ${FEWEST_FOR_DISTANCES} PNG files at least.`,
    });
  }
  return { kind: 'pictures', ...place, digest: (await digestFolder(place.path, 'reference')).digest };
}
