import { describe, expect, it } from "vitest";
import { placeNames, type Rect } from "./overlay";

const size = { w: 60, h: 16 };
const apart = (a: Rect, b: Rect) => a.x >= b.x + b.w || b.x >= a.x + a.w || a.y >= b.y + b.h || b.y >= a.y + a.h;

describe("placeNames", () => {
  it("puts a name above its box", () => {
    expect(placeNames([{ x: 100, y: 100, w: 40, h: 40 }], [size], 1000, 600)).toEqual([{ x: 100, y: 84, ...size }]);
  });
  it("keeps every name on the picture", () => {
    for (const box of [{ x: 0, y: 0, w: 40, h: 40 }, { x: 970, y: 0, w: 30, h: 30 }, { x: 970, y: 570, w: 30, h: 30 }, { x: 0, y: 0, w: 1000, h: 600 }]) {
      const [place] = placeNames([box], [size], 1000, 600) as [Rect];
      expect(place.x).toBeGreaterThanOrEqual(0);
      expect(place.y).toBeGreaterThanOrEqual(0);
      expect(place.x + place.w).toBeLessThanOrEqual(1000);
      expect(place.y + place.h).toBeLessThanOrEqual(600);
    }
  });
  it("lays no name over another where there is room", () => {
    const boxes = [{ x: 100, y: 100, w: 50, h: 50 }, { x: 110, y: 104, w: 50, h: 50 }, { x: 96, y: 108, w: 50, h: 50 }];
    const places = placeNames(boxes, [size, size, size], 1000, 600);
    for (const [i, a] of places.entries()) for (const b of places.slice(i + 1)) expect(apart(a, b)).toBe(true);
  });
  it("gives a name to every box, however crowded", () => {
    const boxes = Array.from({ length: 200 }, () => ({ x: 5, y: 5, w: 10, h: 10 }));
    expect(placeNames(boxes, boxes.map(() => size), 80, 40)).toHaveLength(200);
  });
});
