import { createArrangeChannels } from './arrange-channels.js';
import { createCaptureBlocks } from './capture-blocks.js';
import { createChooseLayerBits } from './choose-layer-bits.js';
import { createCompareDenoisers } from './compare-denoisers.js';
import { createConvertPipeline } from './convert-pipeline.js';
import { createCorrectParameters } from './correct-parameters.js';
import type { ActivityFactories } from './create-activities.js';
import { createCutBlocks } from './cut-blocks.js';
import { createExtractShard } from './extract-shard.js';
import { createFinetuneParameters } from './finetune-parameters.js';
import { createImportFolder } from './import-folder.js';
import { createImportPipeline } from './import-pipeline.js';
import { createImportReference } from './import-reference.js';
import { createJudgeNight } from './judge-night.js';
import { createListShards } from './list-shards.js';
import { createMeasureLatency } from './measure-latency.js';
import { createMeasureSensitivity } from './measure-sensitivity.js';
import { createMergeBlocks } from './merge-blocks.js';
import { createNotifyNight } from './notify-night.js';
import { createObserveActivations } from './observe-activations.js';
import { createPlanEvaluation } from './plan-evaluation.js';
import { createPlanQuantization } from './plan-quantization.js';
import { createPrepareNight } from './prepare-night.js';
import { createReconstructBlock } from './reconstruct-block.js';
import { createRenderEvaluation } from './render-evaluation.js';
import { createRenderReport } from './render-report.js';
import { createRenderSweep } from './render-sweep.js';
import { createRoundWeights } from './round-weights.js';
import { createSampleShard } from './sample-shard.js';
import { createSampleTrajectories } from './sample-trajectories.js';
import { createScoreEvaluation } from './score-evaluation.js';
import { createTransformGraph } from './transform-graph.js';

/** The activities that workers register: one row per body. */
export const ACTIVITY_FACTORIES: ActivityFactories = {
  importPipeline: createImportPipeline,
  planQuantization: createPlanQuantization,
  sampleTrajectories: createSampleTrajectories,
  transformGraph: createTransformGraph,
  observeActivations: createObserveActivations,
  measureSensitivity: createMeasureSensitivity,
  arrangeChannels: createArrangeChannels,
  chooseLayerBits: createChooseLayerBits,
  roundWeights: createRoundWeights,
  correctParameters: createCorrectParameters,
  cutBlocks: createCutBlocks,
  captureBlocks: createCaptureBlocks,
  reconstructBlock: createReconstructBlock,
  mergeBlocks: createMergeBlocks,
  finetuneParameters: createFinetuneParameters,
  convertPipeline: createConvertPipeline,
  renderReport: createRenderReport,
  renderSweep: createRenderSweep,
  planEvaluation: createPlanEvaluation,
  importFolder: createImportFolder,
  importReference: createImportReference,
  sampleShard: createSampleShard,
  extractShard: createExtractShard,
  listShards: createListShards,
  compareDenoisers: createCompareDenoisers,
  measureLatency: createMeasureLatency,
  scoreEvaluation: createScoreEvaluation,
  renderEvaluation: createRenderEvaluation,
  prepareNight: createPrepareNight,
  judgeNight: createJudgeNight,
  notifyNight: createNotifyNight,
};
