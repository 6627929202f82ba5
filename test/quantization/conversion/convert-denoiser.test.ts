import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../../contracts/recipe.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { bytesByPart } from '../../../quantization/conversion/bytes-by-part.js';
import { convertDenoiser } from '../../../quantization/conversion/convert-denoiser.js';
import { weightBytes } from '../../../quantization/conversion/weight-bytes.js';
import { planDenoiser, planningInputs } from '../../../quantization/plan-denoiser.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { zooPipeline } from '../../zoo-pipeline.js';

const pipeline = zooPipeline();
const { graph, shapes, plan } = planDenoiser(pipeline, recipeSchema.parse({}));

describe('conversion of the bundled denoiser', async () => {
  const observers = new ActivationObservers();
  const parameters = await roundParameters({ graph, plan, observers, timesteps: [999, 0] });
  const before = writeModel(graph);
  const converted = convertDenoiser({ graph, shapes, plan, parameters, inputs: planningInputs(pipeline.denoiser) });
  const bytes = writeModel(converted);

  it('leaves the transformed graph as it is, and gives the same bytes again', () => {
    expect(Buffer.compare(writeModel(graph), before)).toBe(0);
    const again = convertDenoiser({ graph, shapes, plan, parameters, inputs: planningInputs(pipeline.denoiser) });
    expect(Buffer.compare(writeModel(again), bytes)).toBe(0);
  });

  it('packs every planned weight into two codes a byte', () => {
    const parts = bytesByPart(converted, bytes.byteLength);
    const codes = plan.layers.reduce((sum, { parameters: count, weight }) => {
      return sum + (weight === null ? 0 : count / (weight.scheme.bits <= 4 ? 2 : 1));
    }, 0);
    const scales = [...parameters.weights.values()].reduce((sum, one) => sum + 4 * one.scales.data.length, 0);
    expect(parts).toMatchObject({ total: bytes.byteLength, codes, scales, tables: 0 });
    expect(parts.codes + parts.scales + parts.tables + parts.float + parts.graph).toBe(bytes.byteLength);
  });

  it('has as many bytes of weight behind every planned node as its codes and scales need', () => {
    let total = 0;
    for (const { name, node, weight, parameters: count } of plan.layers) {
      const scales = parameters.weights.get(name)?.scales.data.length ?? 0;
      const codes = weight === null ? 0 : count / (weight.scheme.bits <= 4 ? 2 : 1);
      expect(weightBytes(converted, node), name).toBe(codes + 4 * scales);
      expect(weightBytes(graph, node), name).toBe(4 * count);
      total += codes + 4 * scales;
    }
    const parts = bytesByPart(converted, bytes.byteLength);
    expect(total).toBe(parts.codes + parts.scales);
    expect(weightBytes(converted, 'no such node')).toBeUndefined();
  });

  it('keeps inputs, outputs and the names of planned nodes', () => {
    expect(converted.inputs).toEqual(graph.inputs);
    expect(converted.outputs).toEqual(graph.outputs);
    for (const { node, opType } of plan.layers) expect(converted.nodeByName(node)?.opType).toBe(opType);
  });

  it('uses standard operators of opset 21 only', () => {
    expect(converted.opset).toBe(21);
    expect(new Set(converted.nodes.map(({ domain }) => domain))).toEqual(new Set(['']));
  });
});
