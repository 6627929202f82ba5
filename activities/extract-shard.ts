import {
  type EvaluationActivities,
  type ExtractShardResult,
  extractShardInputSchema,
} from '../contracts/evaluation-activities.js';
import { evaluationExtractor, extractorKey } from './evaluation-extractor.js';
import { extractFeatureSet } from './features/extract-feature-set.js';
import { openStoredPictures } from './images/stored-pictures.js';
import { type ActivityDeps, runStage } from './stage-frame.js';

/** Features of a shard's pictures; every picture's are computed once, whatever evaluation asks for them. */
export function createExtractShard(deps: ActivityDeps): EvaluationActivities['extractShard'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'features',
        version: 1,
        input: extractShardInputSchema,
        // Where the extractor's folder lies does not decide what is in it.
        key: ({ extractor, ...input }) => ({ ...input, extractor: extractorKey(extractor) }),
      },
      rawInput,
      async (input, context): Promise<Omit<ExtractShardResult, 'reused' | 'seconds'>> => {
        const { store } = context;
        const extractor = await evaluationExtractor(input.extractor, store);
        const images = await openStoredPictures(store, [input.images]);
        const { ref } = await context.withEngine(input.compute, (executor) =>
          extractFeatureSet({ images, extractor, resize: input.resize, executor, store, context }),
        );
        return { features: ref, summary: `features of ${images.n} pictures` };
      },
    );
}
