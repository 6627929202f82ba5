import type { PromptSets } from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { Graph } from '../models/onnx/graph.js';
import { readModel } from '../models/onnx/model-proto.js';
import type { Denoiser } from '../models/pipelines/pipeline.js';
import { readSafetensors } from '../models/tensors/safetensors.js';
import { type CalibrationSet, calibrationFromTensors } from '../quantization/calibration/calibration-set.js';
import type { QuantizationPlan } from '../quantization/layer-plan.js';
import { parametersFromTensors, type QuantizedParameters } from '../quantization/quantized-parameters.js';
import type { Block } from '../quantization/rounding/reconstruction/cut-blocks.js';
import type { LocalStore } from './store/local-store.js';

/** Artifacts are made by the stages of this version only (their keys hold it), so what is loaded is not parsed again. */

export async function loadPlan(store: LocalStore, ref: ArtifactRef): Promise<QuantizationPlan> {
  return (await store.getJson(ref)) as QuantizationPlan;
}

export async function loadBlocks(store: LocalStore, ref: ArtifactRef): Promise<readonly Block[]> {
  return (await store.getJson(ref)) as readonly Block[];
}

export async function loadPrompts(store: LocalStore, ref: ArtifactRef): Promise<PromptSets> {
  return (await store.getJson(ref)) as PromptSets;
}

export async function loadShards(store: LocalStore, ref: ArtifactRef): Promise<readonly ArtifactRef[]> {
  return (await store.getJson(ref)) as readonly ArtifactRef[];
}

export async function loadGraph(store: LocalStore, ref: ArtifactRef): Promise<Graph> {
  return readModel(await store.get(ref), { where: 'the transformed denoiser' });
}

/** A calibration set with the description of the denoiser that it was sampled from. */
export async function loadCalibration(
  store: LocalStore,
  ref: ArtifactRef,
): Promise<{ set: CalibrationSet; denoiser: Denoiser }> {
  const { tensors, metadata } = readSafetensors(await store.get(ref));
  return { set: calibrationFromTensors(tensors), denoiser: JSON.parse(metadata.denoiser ?? '{}') as Denoiser };
}

export async function loadParameters(store: LocalStore, ref: ArtifactRef): Promise<QuantizedParameters> {
  return parametersFromTensors(readSafetensors(await store.get(ref)).tensors);
}
