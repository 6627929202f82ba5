import type { Matrix } from '../../models/linalg/matrix.js';
import { heldInMemory } from './held-in-memory.js';
import type { MatrixProducts } from './matrix-products.js';

/**
 * Matrices that stay where products are computed: what a long computation hands from one product to the next never travels.
 * float64, row-major; every operation makes a new matrix, which lives until it is let go with `free`.
 */
export interface HeldMatrix {
  readonly rows: number;
  readonly cols: number;
}

/** Rows or columns first … end − 1. */
export type Range = readonly [first: number, end: number];

/** ±A·B + factor·C, where A is `a` or its transpose, B likewise. */
export interface ProductForm {
  readonly turnA?: boolean;
  readonly turnB?: boolean;
  /** The product is taken away from `plus`. */
  readonly minus?: boolean;
  readonly plus?: HeldMatrix;
  /** Of `plus`; 1 unless given. */
  readonly factor?: number;
}

export interface HeldMatrices {
  hold(matrix: Matrix): Promise<HeldMatrix>;
  /** Float32 rows [n, d] as float64 with `centre` [d] taken out. */
  holdCentred(rows: Float32Array, centre: Float64Array): Promise<HeldMatrix>;
  product(a: HeldMatrix, b: HeldMatrix, form?: ProductForm): Promise<HeldMatrix>;
  /** A product that goes straight to the caller and is not held. */
  readProduct(a: HeldMatrix, b: HeldMatrix, form?: ProductForm): Promise<Matrix>;
  /** X·Xᵀ */
  gram(x: HeldMatrix): Promise<HeldMatrix>;
  /** Tᵀ·T of a lower triangular T. */
  triangularGram(t: HeldMatrix): Promise<HeldMatrix>;
  /** last + CᵀC + bᵀb [d, d] of float32 rows [n, d], C being the rows with `centre` [d] taken out, and of a row b [d]. */
  addedScatter(last: HeldMatrix, rows: Float32Array, centre: Float64Array, b: Float64Array): Promise<HeldMatrix>;
  /** L₂₁ = A₂₁·Pᵀ and A₂₂ − L₂₁·L₂₁ᵀ of a symmetric A and P = L₁₁⁻¹. */
  eliminated(a: HeldMatrix, p: HeldMatrix): Promise<readonly [below: HeldMatrix, rest: HeldMatrix]>;
  /** [[P, 0], [−Q·L·P, Q]], the inverse of [[P⁻¹, 0], [L, Q⁻¹]]. */
  joinedTriangles(p: HeldMatrix, l: HeldMatrix, q: HeldMatrix): Promise<HeldMatrix>;
  /** The transposed matrix. */
  turned(of: HeldMatrix): Promise<HeldMatrix>;
  block(of: HeldMatrix, rows: Range, cols: Range): Promise<HeldMatrix>;
  /** The given rows or columns in the given order. */
  pick(of: HeldMatrix, what: 'rows' | 'cols', indices: Uint32Array): Promise<HeldMatrix>;
  /** Matrices of equal width, one below the other. */
  stack(parts: readonly HeldMatrix[]): Promise<HeldMatrix>;
  diagonal(of: HeldMatrix): Promise<Float64Array>;
  read(of: HeldMatrix, rows?: Range, cols?: Range): Promise<Matrix>;
  free(...matrices: readonly HeldMatrix[]): Promise<void>;
}

/** Where `products` holds matrices; in this process when it holds none. */
export function heldMatrices(products: MatrixProducts): HeldMatrices {
  return products.held ?? heldInMemory(products);
}

/** What `use` made, but for its result, is let go when it ends, however it ends. */
export async function scoped<T>(held: HeldMatrices, use: (own: HeldMatrices) => Promise<T>): Promise<T> {
  const made = new Set<unknown>();
  try {
    const result = await use(noting(held, made));
    made.delete(result);
    return result;
  } finally {
    await held.free(...(made as Set<HeldMatrix>));
  }
}

function noting(held: HeldMatrices, made: Set<unknown>): HeldMatrices {
  const noted = async (matrix: Promise<HeldMatrix>): Promise<HeldMatrix> => {
    const result = await matrix;
    made.add(result);
    return result;
  };
  return {
    hold: (matrix) => noted(held.hold(matrix)),
    holdCentred: (rows, centre) => noted(held.holdCentred(rows, centre)),
    product: (a, b, form) => noted(held.product(a, b, form)),
    readProduct: (a, b, form) => held.readProduct(a, b, form),
    gram: (x) => noted(held.gram(x)),
    triangularGram: (t) => noted(held.triangularGram(t)),
    addedScatter: (last, rows, centre, b) => noted(held.addedScatter(last, rows, centre, b)),
    eliminated: async (a, p) => {
      const both = await held.eliminated(a, p);
      for (const matrix of both) made.add(matrix);
      return both;
    },
    joinedTriangles: (p, l, q) => noted(held.joinedTriangles(p, l, q)),
    turned: (of) => noted(held.turned(of)),
    block: (of, rows, cols) => noted(held.block(of, rows, cols)),
    pick: (of, what, indices) => noted(held.pick(of, what, indices)),
    stack: (parts) => noted(held.stack(parts)),
    diagonal: (of) => held.diagonal(of),
    read: (of, rows, cols) => held.read(of, rows, cols),
    free: async (...matrices) => {
      for (const matrix of matrices) made.delete(matrix);
      await held.free(...matrices);
    },
  };
}
