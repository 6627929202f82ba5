import type { z } from 'zod';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import {
  type EvaluationActivities,
  type PlanEvaluationResult,
  planEvaluationInputSchema,
} from '../contracts/evaluation-activities.js';
import { FEWEST_FOR_DISTANCES, type Protocol, protocolSchema } from '../contracts/protocol.js';
import type { Recipe } from '../contracts/recipe.js';
import { extractorIdentity, extractorKey } from './evaluation-extractor.js';
import { type FoundExtractor, findExtractor } from './extractor-folder.js';
import { loadPrompts } from './load-artifacts.js';
import { ownReference, storeReference } from './own-reference.js';
import { protocolDigest } from './protocol-digest.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { loadManifest, loadPipeline } from './stored-pipeline.js';

type Input = z.output<typeof planEvaluationInputSchema>;
type Identity = PlanEvaluationResult['extractor'];

/** What a quantization's own evaluations look with; its name is enough for every host to find it. */
const EXTRACTOR = 'cifar10-resnet';

/** Of fewer pictures, distances between sets say little: the one that stands in tables of runs is left. */
const METRICS_OF_FEW = ['frechet', 'lpips'];

/** Says how a quantization is evaluated: its recipe as a protocol, its prompts, extractor and reference. */
export function createPlanEvaluation(deps: ActivityDeps): EvaluationActivities['planEvaluation'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'evaluate',
        version: 3,
        input: planEvaluationInputSchema,
        key: ({ recipe: { sampling, evaluation }, ...input }) => ({ ...input, sampling, evaluation }),
        stillValid: async (_, { extractor }: PlanEvaluationResult) =>
          canonicalJson(extractorKey(extractor)) === canonicalJson(extractorKey(identityOf(await bundledExtractor()))),
      },
      rawInput,
      (input, context) => plan(input, context),
    );
}

async function plan(
  { pipeline: ref, prompts, recipe }: Input,
  { store }: StageContext,
): Promise<Omit<PlanEvaluationResult, 'reused' | 'seconds'>> {
  const pipeline = await loadPipeline(store, ref);
  const found = await bundledExtractor();
  const extractor = identityOf(found);
  const { files } = await loadManifest(store, ref);
  const denoiser = files.find(({ path }) => path === pipeline.denoiser.modelPath);
  const features = await ownReference(pipeline, denoiser?.ref.digest ?? '');
  const texts = await store.putJson('file', (await loadPrompts(store, prompts)).evaluation);
  const settings = protocolOf(recipe);
  const digest = protocolDigest(settings, extractor, texts.digest, pipeline);
  const text = `${JSON.stringify({ ...settings, digest }, null, 2)}\n`;
  return {
    settings,
    protocolDigest: digest,
    extractor,
    texts,
    protocol: await store.put('file', new TextEncoder().encode(text)),
    reference: features === null ? null : await storeReference(store, checked(features, found), found),
    summary: `${settings.samples} pictures, ${settings.metrics.length} metrics of sets`,
  };
}

/** A recipe's evaluation with everything that it leaves open as protocols have it. */
function protocolOf({ sampling, evaluation }: Recipe): Protocol {
  const { samples, seed, timestepPairs } = evaluation;
  const { steps, guidance } = sampling;
  const few = samples < FEWEST_FOR_DISTANCES ? { metrics: METRICS_OF_FEW } : {};
  return protocolSchema.parse({
    name: 'quantization',
    samples,
    seed,
    timestepPairs,
    sampling: { steps, guidance },
    ...few,
  });
}

function bundledExtractor(): Promise<FoundExtractor> {
  return findExtractor(EXTRACTOR, EXTRACTOR);
}

function identityOf(found: FoundExtractor): Identity {
  return { ...extractorIdentity(found), folder: EXTRACTOR };
}

/** Throws InvalidModel for features of another size than the extractor's. */
function checked<Features extends { readonly dims: readonly number[] }>(
  features: Features,
  { spec }: FoundExtractor,
): Features {
  const { dimension } = spec.outputs.features;
  if (features.dims.length === 2 && features.dims[1] === dimension) return features;
  throw new NibbleflowError('InvalidModel', `the reference features are [${features.dims.join(', ')}]`, {
    where: 'reference/features.npy',
    fix: `They must be [pictures, ${dimension}], of the extractor ${spec.name}.`,
  });
}
