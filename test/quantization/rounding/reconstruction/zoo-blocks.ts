import type { EngineExecutor } from '../../../../activities/engine/engine-executor.js';
import { type Recipe, recipeSchema } from '../../../../contracts/recipe.js';
import type { ReconstructionSettings } from '../../../../contracts/reconstruction-settings.js';
import { writeModel } from '../../../../models/onnx/model-proto.js';
import type { Tensor } from '../../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../../quantization/calibration/calibration-set.js';
import { observations } from '../../../../quantization/calibration/observations.js';
import { observationGraph, observeBatch, observedValues } from '../../../../quantization/calibration/observe-batch.js';
import { fixedItems } from '../../../../quantization/finetuning/finetuning-data.js';
import { planningInputs } from '../../../../quantization/plan-denoiser.js';
import type { QuantizedParameters } from '../../../../quantization/quantized-parameters.js';
import {
  boundDims,
  captureBlocks,
  dataInMemory,
  itemDims,
} from '../../../../quantization/rounding/reconstruction/block-data.js';
import { type Block, cutBlocks } from '../../../../quantization/rounding/reconstruction/cut-blocks.js';
import {
  type BlockResult,
  type ReconstructOptions,
  reconstructBlock,
} from '../../../../quantization/rounding/reconstruction/reconstruct-block.js';
import { roundParameters } from '../../../../quantization/rounding/round-parameters.js';
import { bundledRecipe, type PreparedZoo, pipeline, prepareZoo } from '../../quantized-zoo.js';
import { promptSets, zooCalibration } from '../../zoo-calibration.js';

/** Blocks of the zoo's UNet with what enters and leaves them on real trajectories, small but nothing left out. */
export class ZooBlocks {
  private constructor(
    private readonly executor: EngineExecutor,
    readonly prepared: PreparedZoo,
    readonly calibration: CalibrationSet,
    readonly parameters: QuantizedParameters,
    readonly blocks: readonly Block[],
    private readonly data: ReadonlyMap<string, ReadonlyMap<string, Tensor>>,
    private readonly timesteps: readonly number[],
  ) {}

  /** 8 prompts at 4 timesteps, both branches; `names` are the blocks whose values are kept, 64 of each. */
  static async open(executor: EngineExecutor, names: readonly string[]): Promise<ZooBlocks> {
    const prepared = prepareZoo(
      bundledRecipe('w4a4', { weights: { range: 'absmax' }, activations: { range: 'minmax' } }),
    );
    const calibration = await zooCalibration(executor, promptSets(8, 1).calibration, { steps: 4, timesteps: 4 });
    const parameters = await rounded(executor, prepared, calibration);
    const inputs = planningInputs(pipeline.denoiser);
    const all = cutBlocks(prepared.graph, prepared.plan, inputs);
    const blocks = names.map((name) => all.find((block) => block.name === name) as Block);
    const items = fixedItems(
      calibration,
      Array.from({ length: 8 }, (_, index) => index),
      64,
      'training',
      3,
    );
    const { blocks: found } = await captureBlocks({
      executor,
      ...prepared,
      parameters,
      inputs,
      denoiser: pipeline.denoiser,
      calibration,
      items,
      blocks,
      quantized: { activations: true },
      batch: 16,
    });
    const data = new Map(names.map((name, index) => [name, found[index] ?? new Map()]));
    const timesteps = items.map(({ step }) => calibration.timesteps[step] ?? 0);
    return new ZooBlocks(executor, prepared, calibration, parameters, blocks, data, timesteps);
  }

  tensorsOf(name: string): ReadonlyMap<string, Tensor> {
    return this.data.get(name) ?? new Map();
  }

  reconstruct(
    name: string,
    settings: Partial<ReconstructionSettings>,
    more: Pick<ReconstructOptions, 'resume' | 'onStep'> = {},
  ): Promise<BlockResult> {
    const inputs = planningInputs(pipeline.denoiser);
    const defaults: Recipe['reconstruction'] = recipeSchema.parse({}).reconstruction;
    return reconstructBlock({
      executor: this.executor,
      ...this.prepared,
      inputs,
      block: this.blocks.find((block) => block.name === name) as Block,
      parameters: this.parameters,
      data: dataInMemory(this.tensorsOf(name), 'float16', this.timesteps),
      settings: { ...defaults, batchSize: 8, ...settings },
      boundFor: (batch) => boundDims(itemDims(this.calibration), inputs, batch),
      ...more,
    });
  }
}

async function rounded(
  executor: EngineExecutor,
  { graph, plan }: PreparedZoo,
  calibration: CalibrationSet,
): Promise<QuantizedParameters> {
  const observers = new ActivationObservers();
  const values = observedValues(plan);
  const runnable = await executor.open(writeModel(observationGraph(graph, values)));
  const context = { denoiser: pipeline.denoiser, set: calibration, wanted: observations(plan) };
  for (const step of calibration.timesteps.keys()) {
    const items = [0, 1].flatMap((branch) => [0, 1, 2, 3].map((trajectory) => ({ trajectory, step, branch })));
    await observeBatch(runnable, context, items, observers);
  }
  await runnable.release();
  return roundParameters({ graph, plan, observers, timesteps: calibration.timesteps });
}
