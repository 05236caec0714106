/**
 * How one plane lies on another: the 3 x 3 matrix that carries points of the camera's picture onto a display.
 *
 * Found from four or more pairs of points by the direct linear transform with normalised coordinates (Hartley and
 * Zisserman, Multiple View Geometry, 2nd ed., Algorithm 4.2).
 */
export type Point = readonly [x: number, y: number];
/** Row by row. */
export type Matrix = readonly [number, number, number, number, number, number, number, number, number];

export const IDENTITY: Matrix = [1, 0, 0, 0, 1, 0, 0, 0, 1];

/** Where a point goes. */
export function apply(h: Matrix, [x, y]: Point): [number, number] {
  const w = h[6] * x + h[7] * y + h[8];
  return [(h[0] * x + h[1] * y + h[2]) / w, (h[3] * x + h[4] * y + h[5]) / w];
}

/** First b, then a. */
export function multiply(a: Matrix, b: Matrix): Matrix {
  const out = new Array<number>(9).fill(0);
  for (let r = 0; r < 3; r++) {
    for (let c = 0; c < 3; c++) for (let k = 0; k < 3; k++) out[3 * r + c]! += a[3 * r + k]! * b[3 * k + c]!;
  }
  return out as unknown as Matrix;
}

/** Back again. RangeError where the matrix flattens the plane. */
export function invert(h: Matrix): Matrix {
  const [a, b, c, d, e, f, g, i, j] = h;
  const det = a * (e * j - f * i) - b * (d * j - f * g) + c * (d * i - e * g);
  const size = Math.max(...h.map(Math.abs));
  if (!(Math.abs(det) > 1e-14 * size ** 3)) throw new RangeError("this mapping flattens the plane and has no way back");
  return [
    (e * j - f * i) / det, (c * i - b * j) / det, (b * f - c * e) / det,
    (f * g - d * j) / det, (a * j - c * g) / det, (c * d - a * f) / det,
    (d * i - e * g) / det, (b * g - a * i) / det, (a * e - b * d) / det,
  ];
}

/** The same mapping with its last entry 1, or, where that is 0, with length 1. */
export function normalise(h: Matrix): Matrix {
  const scale = Math.abs(h[8]) > 1e-12 * Math.hypot(...h) ? h[8] : Math.hypot(...h);
  return h.map((v) => v / scale) as unknown as Matrix;
}

/** Shift and scale so that the middle is 0 and the mean distance from it is √2: what keeps the equations well-behaved. */
function conditioner(points: readonly Point[]): Matrix {
  const n = points.length;
  const mx = points.reduce((s, p) => s + p[0], 0) / n;
  const my = points.reduce((s, p) => s + p[1], 0) / n;
  const spread = points.reduce((s, p) => s + Math.hypot(p[0] - mx, p[1] - my), 0) / n;
  if (!(spread > 0)) throw new RangeError("the points all lie on one spot");
  const k = Math.SQRT2 / spread;
  return [k, 0, -k * mx, 0, k, -k * my, 0, 0, 1];
}

/** Eigenvector of the smallest eigenvalue of a symmetric matrix, and how far the next one is, by Jacobi's rotations. */
function smallestEigenvector(matrix: number[][]): { vector: number[]; gap: number } {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = a.map((_, i) => a.map((_, j): number => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += a[p]![q]! ** 2;
    if (off < 1e-30) break;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        if (a[p]![q] === 0) continue;
        const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[k]![p]!, a[k]![q]!];
          a[k]![p] = c * x - s * y;
          a[k]![q] = s * x + c * y;
        }
        for (let k = 0; k < n; k++) {
          const [x, y] = [a[p]![k]!, a[q]![k]!];
          a[p]![k] = c * x - s * y;
          a[q]![k] = s * x + c * y;
          const [vx, vy] = [v[k]![p]!, v[k]![q]!];
          v[k]![p] = c * vx - s * vy;
          v[k]![q] = s * vx + c * vy;
        }
      }
    }
  }
  const order = a.map((row, i) => row[i]!).map((value, i) => ({ value, i })).sort((x, y) => x.value - y.value);
  const gap = (order[1]!.value - order[0]!.value) / Math.max(order[n - 1]!.value, 1e-300);
  return { vector: v.map((row) => row[order[0]!.i]!), gap };
}

/**
 * The mapping that carries `from[i]` onto `to[i]`: exactly for four points, nearest (algebraically) for more.
 *
 * RangeError for fewer than four pairs, or where they do not fix the mapping (three of four on one line).
 */
export function homography(from: readonly Point[], to: readonly Point[]): Matrix {
  if (from.length !== to.length) throw new RangeError(`${from.length} points go to ${to.length}`);
  if (from.length < 4) throw new RangeError(`four points are needed, there are ${from.length}`);
  const before = conditioner(from);
  const after = conditioner(to);
  const normal = Array.from({ length: 9 }, () => new Array<number>(9).fill(0));
  for (const [i, point] of from.entries()) {
    const [x, y] = apply(before, point);
    const [u, v] = apply(after, to[i]!);
    for (const row of [
      [-x, -y, -1, 0, 0, 0, u * x, u * y, u],
      [0, 0, 0, -x, -y, -1, v * x, v * y, v],
    ]) {
      for (let r = 0; r < 9; r++) for (let c = 0; c < 9; c++) normal[r]![c]! += row[r]! * row[c]!;
    }
  }
  const { vector, gap } = smallestEigenvector(normal);
  if (gap < 1e-7) throw new RangeError("these points do not fix the mapping: three of them lie on one line");
  const h = normalise(multiply(invert(after), multiply(vector as unknown as Matrix, before)));
  invert(h);
  return h;
}

/** How far each point lands from where it should, in the unit of `to`. */
export function misses(h: Matrix, from: readonly Point[], to: readonly Point[]): number[] {
  return from.map((point, i) => {
    const [u, v] = apply(h, point);
    return Math.hypot(u - (to[i]?.[0] ?? NaN), v - (to[i]?.[1] ?? NaN));
  });
}
