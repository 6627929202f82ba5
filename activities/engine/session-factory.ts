import { InferenceSession } from 'onnxruntime-node';
import type { Device, ModelFile, OpenOptions } from '../../models/executor.js';

/**
 * The only place that creates sessions. Its guards work around optimizations of onnxruntime 1.30 that change results:
 *
 * - `ReluQuantRewrite` deletes a Relu in front of a QuantizeLinear to INT4/UINT4 whatever the zero point (wrong by up to 9
 *   codes, silently), and `disable_quant_qdq` does not stop it.
 * - DequantizeLinear(INT4) → MatMul becomes MatMulNBits, which rounds its activations to 8 bits (0.7 % of the largest output
 *   in the self-test). `disable_quant_qdq` leaves Quantize/DequantizeLinear as written, folds constant weights to float and so
 *   runs a W4A4 graph at about float speed, where `qdq_matmulnbits_accuracy_level=0`, the other cure, is 1.05 to 1.6 × slower.
 *
 * self-test.ts proves on the running binary that both are needed and enough.
 */
const GUARDS = {
  optimization: { disable_specified_optimizers: 'ReluQuantRewrite' },
  session: { disable_quant_qdq: '1' },
} as const;

export interface SessionSettings {
  readonly device: Device;
  /** Threads inside an operator. Explicit: onnxruntime's default takes every core of the machine. */
  readonly threads: number;
  /** Threads that wait for work spin instead of sleeping. */
  readonly spinning: boolean;
  readonly optimization: NonNullable<OpenOptions['optimization']>;
  /** See OpenOptions; default true. */
  readonly memoryPattern?: boolean;
  /** See OpenOptions; default true. */
  readonly memoryArena?: boolean;
  /** Writes a profile with this path prefix (see placement.ts). */
  readonly profilePrefix?: string;
}

/** onnxruntime's session options for `settings`, guards included. */
export function sessionOptions(settings: SessionSettings): InferenceSession.SessionOptions {
  return {
    // Only the wanted provider is named: onnxruntime-common drops a provider it cannot find from a longer list and goes on.
    executionProviders: [settings.device],
    graphOptimizationLevel: settings.optimization,
    intraOpNumThreads: settings.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    enableMemPattern: settings.memoryPattern ?? true,
    enableCpuMemArena: settings.memoryArena ?? true,
    ...(settings.profilePrefix === undefined
      ? {}
      : { enableProfiling: true, profileFilePrefix: settings.profilePrefix }),
    extra: {
      optimization: GUARDS.optimization,
      // An idle engine never spins.
      session: {
        ...GUARDS.session,
        force_spinning_stop: '1',
        intra_op: { allow_spinning: settings.spinning ? '1' : '0' },
      },
    },
  };
}

/** Compiles a model. Throws onnxruntime's error. */
export async function createSession(
  model: Uint8Array | ModelFile,
  settings: SessionSettings,
): Promise<InferenceSession> {
  const options = sessionOptions(settings);
  return model instanceof Uint8Array
    ? InferenceSession.create(model, options)
    : InferenceSession.create(model.path, options);
}
