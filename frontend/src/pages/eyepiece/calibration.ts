/** Where points of the camera's picture lie on the eyepiece display: found by hand, one point after the other. */
import { apply, homography, misses, type Matrix, type Point } from "$lib/homography";

export interface Pair {
  /** In the picture: pixels of the frame. */
  from: Point;
  /** On the display: shares of its width and height, so that no window size enters. */
  to: Point;
  /** The person has put it there. */
  set: boolean;
}

interface Box {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** Corners and middle: the mapping is fixed best by points that lie far apart. */
const ANCHORS: readonly Point[] = [[0.15, 0.18], [0.85, 0.18], [0.85, 0.82], [0.15, 0.82], [0.5, 0.5]];

/**
 * Points to be found in the eyepiece: the cell nearest to each corner and to the middle. Where no cell lies within a
 * quarter of the picture, the place itself.
 */
export function proposals(cells: readonly Box[], width: number, height: number): Point[] {
  const free = cells.map((c): Point => [(c.x1 + c.x2) / 2, (c.y1 + c.y2) / 2]);
  return ANCHORS.map(([ax, ay]) => {
    const anchor: Point = [ax * width, ay * height];
    const far = (p: Point) => Math.hypot(p[0] - anchor[0], p[1] - anchor[1]);
    const nearest = free.reduce<Point | null>((best, p) => (best === null || far(p) < far(best) ? p : best), null);
    if (!nearest || far(nearest) > 0.25 * height) return anchor;
    free.splice(free.indexOf(nearest), 1);
    return nearest;
  });
}

export interface Fit {
  matrix: Matrix;
  /** Of every set pair, in its order: how far off it lands, as a share of the display's width. */
  misses: number[];
}

/** The mapping through the pairs that are set; null for fewer than four, or where they lie on a line. */
export function fit(pairs: readonly Pair[]): Fit | null {
  const set = pairs.filter((p) => p.set);
  try {
    const from = set.map((p) => p.from);
    const to = set.map((p) => p.to);
    const matrix = homography(from, to);
    return { matrix, misses: misses(matrix, from, to) };
  } catch (problem) {
    if (problem instanceof RangeError) return null;
    throw problem;
  }
}

/** Where the cross for `from` had best begin: as the set pairs say; as they are shifted; in the same place. */
export function guess(pairs: readonly Pair[], from: Point, width: number, height: number): Point {
  const plain: Point = [from[0] / width, from[1] / height];
  const set = pairs.filter((p) => p.set);
  const fitted = fit(pairs);
  if (fitted) return inside(apply(fitted.matrix, from));
  if (!set.length) return plain;
  const dx = set.reduce((s, p) => s + p.to[0] - p.from[0] / width, 0) / set.length;
  const dy = set.reduce((s, p) => s + p.to[1] - p.from[1] / height, 0) / set.length;
  return inside([plain[0] + dx, plain[1] + dy]);
}

/** The nearest point that can be shown. */
export const inside = ([x, y]: Point): Point => [Math.min(Math.max(x, 0), 1), Math.min(Math.max(y, 0), 1)];
