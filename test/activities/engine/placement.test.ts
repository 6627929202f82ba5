import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { misplacement, PlacementCheck, profiledNodes } from '../../../activities/engine/placement.js';
import { sessionOptions } from '../../../activities/engine/session-factory.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { convMatMulSoftmax } from './models.js';

test('a session that ran on the CPU is no webgpu session: the nodes that computed are named, shape arithmetic is not', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'nibbleflow-placement-'));
  const check = new PlacementCheck('webgpu', scratch);
  const options = sessionOptions({
    device: 'cpu',
    threads: 1,
    spinning: false,
    optimization: 'disabled',
    profilePrefix: check.profilePrefix,
  });
  const session = await InferenceSession.create(convMatMulSoftmax(), options);
  await session.run({ x: new Tensor('float32', gaussianTensor(1, 0, [2, 8, 16, 16]).data, [2, 8, 16, 16]) });
  const failure = check.finish(session);
  await session.release();
  expect(readdirSync(scratch)).toEqual([]);
  rmSync(scratch, { recursive: true });
  expect(failure?.kind).toBe('DeviceUnavailable');
  expect(failure?.what).toContain("Conv 'conv' on CPUExecutionProvider");
  expect(failure?.what).toContain("MatMul 'matmul' on CPUExecutionProvider");
  expect(failure?.what).not.toMatch(/Gather|Unsqueeze|Concat/);
});

const shapeNode = { name: 'a', operator: 'Gather', provider: 'CPUExecutionProvider', numbersRead: 0 };
const bigNode = { name: 'b', operator: 'MatMul', provider: 'CPUExecutionProvider', numbersRead: 1e6 };
const deviceNode = { ...bigNode, name: 'c', provider: 'WebGpuExecutionProvider' };

test('shape arithmetic beside device nodes is fine, one large node elsewhere is not, and neither is nothing on the device', () => {
  expect(misplacement([shapeNode, deviceNode], 'webgpu')).toBeUndefined();
  expect(misplacement([shapeNode, deviceNode, bigNode], 'webgpu')?.what).toContain(
    "1 of 3 nodes ran elsewhere than on webgpu: MatMul 'b'",
  );
  expect(misplacement([shapeNode], 'webgpu')?.what).toContain('no node of the model ran on webgpu');
  expect(misplacement([deviceNode], 'cuda')?.kind).toBe('DeviceUnavailable');
});

test('index types do not count as numbers read', () => {
  const event = (input: Record<string, number[]>[]): object => ({
    cat: 'Node',
    name: 'n_kernel_time',
    args: { provider: 'P', op_name: 'Op', input_type_shape: input },
  });
  const nodes = profiledNodes(
    JSON.stringify([{ cat: 'Session' }, event([{ int64: [9, 9] }, { float: [2, 3] }]), event([{ bool: [5] }])]),
  );
  expect(nodes.map((node) => [node.name, node.operator, node.numbersRead])).toEqual([
    ['n', 'Op', 6],
    ['n', 'Op', 0],
  ]);
});
