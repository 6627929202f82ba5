import { uniforms } from '../../models/tensors/random.js';

/**
 * Lloyd's algorithm on points of the plane: every point joins the nearest centre, every centre moves to the mean of its
 * points, until nobody moves. Starts are drawn as k-means++ does (Arthur & Vassilvitskii, SODA 2007): each next centre is a
 * point with probability proportional to its squared distance from the centres so far. The best of RESTARTS starts wins.
 * Everything is a function of the arguments: ties go to the smaller index, draws come from the seed.
 */
export interface Clusters {
  /** Cluster of each point; clusters are numbered in the order in which points first belong to one, without gaps. */
  readonly assignment: Uint8Array;
  readonly count: number;
  /** Σ of squared distances between points and the means of their clusters. */
  readonly inertia: number;
}

const RESTARTS = 4;
/** Far beyond what few hundred points need; a stop for certain. */
const LARGEST_ROUNDS = 100;

/**
 * @param x,y coordinates of the points
 * @param wanted most clusters, 1 … 256; fewer when there are fewer distinct points
 */
export function kMeans(x: ArrayLike<number>, y: ArrayLike<number>, wanted: number, seed: number): Clusters {
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > 256) throw new RangeError(`1 to 256 clusters, got ${wanted}`);
  if (x.length === 0 || x.length !== y.length) throw new RangeError(`${x.length} and ${y.length} coordinates`);
  const points = { x: Float64Array.from(x), y: Float64Array.from(y) };
  let best: Clusters | undefined;
  for (let start = 0; start < RESTARTS; start += 1) {
    const found = lloyd(points, firstCentres(points, wanted, seed, start));
    if (best === undefined || found.inertia < best.inertia) best = found;
  }
  return best as Clusters;
}

interface Points {
  readonly x: Float64Array;
  readonly y: Float64Array;
}

function squaredDistance(points: Points, index: number, x: number, y: number): number {
  const [dx, dy] = [(points.x[index] as number) - x, (points.y[index] as number) - y];
  return dx * dx + dy * dy;
}

function firstCentres(points: Points, wanted: number, seed: number, stream: number): Points {
  const count = points.x.length;
  const draws = uniforms(seed, stream, wanted);
  const chosen = [Math.min(count - 1, Math.floor((draws[0] as number) * count))];
  const distances = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  while (chosen.length < wanted) {
    const last = chosen.at(-1) as number;
    let total = 0;
    for (let index = 0; index < count; index += 1) {
      const distance = squaredDistance(points, index, points.x[last] as number, points.y[last] as number);
      distances[index] = Math.min(distances[index] as number, distance);
      total += distances[index] as number;
    }
    if (total === 0) break;
    chosen.push(drawn(distances, (draws[chosen.length] as number) * total));
  }
  return {
    x: Float64Array.from(chosen, (index) => points.x[index] as number),
    y: Float64Array.from(chosen, (index) => points.y[index] as number),
  };
}

/** The first index whose share, with all before it, is more than `at`; the last one with a share if sums are rounded. */
function drawn(weights: Float64Array, at: number): number {
  let sum = 0;
  let last = 0;
  for (const [index, weight] of weights.entries()) {
    if (weight === 0) continue;
    sum += weight;
    last = index;
    if (sum > at) break;
  }
  return last;
}

function lloyd(points: Points, centres: Points): Clusters {
  const assignment = new Uint8Array(points.x.length);
  let inertia = Number.POSITIVE_INFINITY;
  for (let round = 0; round < LARGEST_ROUNDS; round += 1) {
    const next = assign(points, centres, assignment);
    moveCentres(points, centres, assignment);
    if (next === inertia) break;
    inertia = next;
  }
  return numbered(points, centres, assignment);
}

/** Puts every point into the cluster of the nearest centre; the sum of squared distances. */
function assign(points: Points, centres: Points, assignment: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < assignment.length; index += 1) {
    let nearest = 0;
    let smallest = Number.POSITIVE_INFINITY;
    for (let centre = 0; centre < centres.x.length; centre += 1) {
      const distance = squaredDistance(points, index, centres.x[centre] as number, centres.y[centre] as number);
      if (distance < smallest) [nearest, smallest] = [centre, distance];
    }
    assignment[index] = nearest;
    sum += smallest;
  }
  return sum;
}

/** Moves every centre to the mean of its points; one without points stays. */
function moveCentres(points: Points, centres: Points, assignment: Uint8Array): void {
  const sums = Array.from(centres.x, () => ({ x: 0, y: 0, count: 0 }));
  for (const [index, cluster] of assignment.entries()) {
    const sum = sums[cluster];
    if (sum === undefined) continue;
    sum.x += points.x[index] as number;
    sum.y += points.y[index] as number;
    sum.count += 1;
  }
  for (const [cluster, { x, y, count }] of sums.entries()) {
    if (count === 0) continue;
    centres.x[cluster] = x / count;
    centres.y[cluster] = y / count;
  }
}

function numbered(points: Points, centres: Points, assignment: Uint8Array): Clusters {
  const numbers = new Map<number, number>();
  let inertia = 0;
  const renamed = assignment.map((cluster, index) => {
    inertia += squaredDistance(points, index, centres.x[cluster] as number, centres.y[cluster] as number);
    if (!numbers.has(cluster)) numbers.set(cluster, numbers.size);
    return numbers.get(cluster) as number;
  });
  return { assignment: renamed, count: numbers.size, inertia };
}
