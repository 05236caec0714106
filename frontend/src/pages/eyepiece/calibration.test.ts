import { describe, expect, it } from "vitest";
import { apply, type Matrix, type Point } from "$lib/homography";
import { fit, guess, proposals, type Pair } from "./calibration";

const W = 1920;
const H = 1080;
const TRUTH: Matrix = [-0.8 / W, 0.05 / H, 0.93, 0.04 / W, 0.85 / H, 0.06, 2e-5, -1e-5, 1];
const pair = (from: Point, set = true): Pair => ({ from, to: apply(TRUTH, from), set });
const FOUR: Point[] = [[200, 150], [1700, 180], [1650, 900], [240, 880]];

describe("calibration", () => {
  it("finds how the picture lies on the display from four points", () => {
    const found = fit(FOUR.map((p) => pair(p)));
    for (const point of [[0, 0], [W, H], [960, 540]] as Point[]) {
      const [x, y] = apply(found!.matrix, point);
      const [u, v] = apply(TRUTH, point);
      expect(x).toBeCloseTo(u, 6);
      expect(y).toBeCloseTo(v, 6);
    }
    expect(Math.max(...found!.misses)).toBeLessThan(1e-6);
  });
  it("waits for four points, and for points that are not on a line", () => {
    expect(fit(FOUR.map((p, i) => pair(p, i < 3)))).toBeNull();
    expect(fit([[0, 0], [100, 100], [200, 200], [300, 300]].map((p) => pair(p as unknown as Point)))).toBeNull();
  });
  it("guesses the fifth place where the first four are right", () => {
    const [x, y] = guess(FOUR.map((p) => pair(p)), [960, 540], W, H);
    const [u, v] = apply(TRUTH, [960, 540]);
    expect(Math.hypot(x - u, y - v)).toBeLessThan(1e-6);
  });
  it("guesses a shift from one point, and never a place off the display", () => {
    const shifted: Pair = { from: [960, 540], to: [0.6, 0.4], set: true };
    expect(guess([shifted], [960, 540], W, H)).toEqual([0.6, 0.4]);
    const [x, y] = guess([shifted], [W, 0], W, H);
    expect([x, y]).toEqual([1, 0]);
  });
});

describe("proposals", () => {
  const cell = (x: number, y: number) => ({ x1: x - 40, y1: y - 40, x2: x + 40, y2: y + 40 });
  it("are cells near the corners and the middle, each once", () => {
    const cells = [cell(300, 200), cell(1600, 210), cell(1600, 900), cell(300, 880), cell(950, 560)];
    const found = proposals(cells, W, H);
    expect(new Set(found.map(String)).size).toBe(5);
    expect(found[0]).toEqual([300, 200]);
    expect(found[4]).toEqual([950, 560]);
  });
  it("fix the mapping even where no cell lies", () => {
    expect(fit(proposals([], W, H).map((p) => pair(p)))).not.toBeNull();
  });
});
