import { join } from 'node:path';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { executorProducts } from '../../evaluation/linalg/executor-products.js';
import type { MatrixProducts } from '../../evaluation/linalg/matrix-products.js';
import type { Matrix } from '../../models/linalg/matrix.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { writeNpyRows } from './npy-rows.js';

/**
 * Features like those of pooled activations: max(0, 0.3 + A·z + noise), z [256] normal with a falling spectrum, full rank, about
 * a third zeros. The two sides differ in scale by 5 %. Logits are normal numbers. Everything from seeds.
 */
export const FEATURES = 2048;
export const CLASSES = 1008;
const LATENT = 256;
const PIECE_ROWS = 2048;
const SIDES = [
  ['fake', 1.05],
  ['real', 1],
] as const;

/** Writes fake.npy, real.npy and logits.npy of `n` rows into a folder. */
export async function writeFeatureFiles(folder: string, n: number, threads: number): Promise<void> {
  const executor = await EngineExecutor.start({ device: 'cpu', threads });
  const products = executorProducts(executor);
  for (const [seed, [name, scale]] of SIDES.entries()) {
    await writeNpyRows(join(folder, `${name}.npy`), [n, FEATURES], featurePieces(seed, n, scale, products));
  }
  await writeNpyRows(join(folder, 'logits.npy'), [n, CLASSES], logitPieces(n));
  await products.release();
  await executor.close();
}

async function* featurePieces(
  seed: number,
  n: number,
  scale: number,
  products: MatrixProducts,
): AsyncGenerator<Float32Tensor> {
  const mixing = spectrum(asMatrix(gaussianTensor(77, 0, [FEATURES, LATENT])));
  for (let first = 0; first < n; first += PIECE_ROWS) {
    const rows = Math.min(n, first + PIECE_ROWS) - first;
    const latent = asMatrix(gaussianTensor(seed, 2 * first, [rows, LATENT]));
    const mixed = await products.timesTransposed(latent, mixing);
    const { data } = gaussianTensor(seed, 2 * first + 1, [rows, FEATURES]);
    for (let i = 0; i < data.length; i += 1) {
      data[i] = Math.max(0, 0.3 + 0.05 * (data[i] as number) + 0.2 * scale * (mixed.data[i] as number));
    }
    yield float32([rows, FEATURES], data);
  }
}

async function* logitPieces(n: number): AsyncGenerator<Float32Tensor> {
  for (let first = 0; first < n; first += PIECE_ROWS) {
    yield gaussianTensor(99, first, [Math.min(n, first + PIECE_ROWS) - first, CLASSES]);
  }
}

function asMatrix({ dims, data }: Float32Tensor): Matrix {
  return { rows: dims[0] ?? 0, cols: dims[1] ?? 0, data: Float64Array.from(data) };
}

/** Column j by e^(−j / 60). */
function spectrum(of: Matrix): Matrix {
  return { ...of, data: of.data.map((value, i) => value * Math.exp(-(i % of.cols) / 60)) };
}
