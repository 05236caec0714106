import { describe, expect, it } from "vitest";
import { apply, homography, IDENTITY, invert, misses, multiply, normalise, type Matrix, type Point } from "./homography";

/** Numbers that look random and are the same every time. */
function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
const CORNERS: Point[] = [[0, 0], [1920, 0], [1920, 1080], [0, 1080]];
const far = (a: Point, b: Point) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/** A mapping as an eyepiece has it: turned, scaled, perhaps mirrored, shifted, a little in perspective. */
function someMatrix(next: () => number): Matrix {
  const turn = (next() - 0.5) * 2;
  const scale = 0.3 + next() * 1.5;
  const mirror = next() < 0.5 ? -1 : 1;
  const [c, s] = [Math.cos(turn) * scale, Math.sin(turn) * scale];
  return [c * mirror, -s, (next() - 0.5) * 400, s * mirror, c, (next() - 0.5) * 400, (next() - 0.5) * 2e-4, (next() - 0.5) * 2e-4, 1];
}

describe("homography", () => {
  it("is found again from the four corners, whatever it was", () => {
    const next = chance(7);
    for (let i = 0; i < 300; i++) {
      const truth = someMatrix(next);
      const found = homography(CORNERS, CORNERS.map((p) => apply(truth, p)));
      for (let k = 0; k < 20; k++) {
        const point: Point = [next() * 1920, next() * 1080];
        expect(far(apply(found, point), apply(truth, point))).toBeLessThan(1e-3);
      }
    }
  });

  it("is the known matrix for a known case: a shift", () => {
    const found = homography(CORNERS, CORNERS.map(([x, y]) => [x + 12, y - 5]));
    [1, 0, 12, 0, 1, -5, 0, 0, 1].forEach((value, i) => expect(found[i]).toBeCloseTo(value, 7));
  });

  it("is the known matrix for a known case: mirrored shares of a display", () => {
    const found = homography(CORNERS, [[1, 0], [0, 0], [0, 1], [1, 1]]);
    [-1 / 1920, 0, 1, 0, 1 / 1080, 0, 0, 0, 1].forEach((value, i) => expect(found[i]).toBeCloseTo(value, 9));
  });

  it("carries its own points exactly where there are four", () => {
    const to: Point[] = [[10, 20], [950, 60], [900, 700], [30, 640]];
    for (const miss of misses(homography(CORNERS, to), CORNERS, to)) expect(miss).toBeLessThan(1e-6);
  });

  it("gets better with more points when hands tremble", () => {
    const next = chance(3);
    const truth = someMatrix(next);
    const error = (n: number) => {
      let sum = 0;
      for (let round = 0; round < 60; round++) {
        const from: Point[] = Array.from({ length: n }, (_, i) => (i < 4 ? CORNERS[i]! : [next() * 1920, next() * 1080]));
        const to = from.map((p): Point => {
          const [x, y] = apply(truth, p);
          return [x + (next() - 0.5) * 4, y + (next() - 0.5) * 4];
        });
        const found = homography(from, to);
        sum += far(apply(found, [960, 540]), apply(truth, [960, 540]));
      }
      return sum / 60;
    };
    expect(error(24)).toBeLessThan(error(4));
  });

  it("says so where points do not fix it", () => {
    const line: Point[] = [[0, 0], [1, 1], [2, 2], [3, 3]];
    expect(() => homography(line, CORNERS)).toThrow(RangeError);
    expect(() => homography(CORNERS, line)).toThrow(RangeError);
    expect(() => homography([[0, 0], [1, 0], [2, 0], [0, 5]], CORNERS)).toThrow(RangeError);
    expect(() => homography(CORNERS.slice(1), CORNERS.slice(1))).toThrow(RangeError);
    expect(() => homography([[4, 4], [4, 4], [4, 4], [4, 4]], CORNERS)).toThrow(RangeError);
  });
});

describe("matrices", () => {
  it("come back when inverted", () => {
    const next = chance(11);
    for (let i = 0; i < 100; i++) {
      const h = someMatrix(next);
      const back = normalise(multiply(invert(h), h));
      IDENTITY.forEach((value, k) => expect(back[k]).toBeCloseTo(value, 6));
    }
  });
  it("have no way back where they flatten the plane", () => {
    expect(() => invert([1, 2, 3, 2, 4, 6, 0, 0, 1])).toThrow(RangeError);
  });
});
