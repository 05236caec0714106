import { describe, expect, test } from "vitest";
import { dragged, drawnBox, gripAt, toField, toScreen, under, type Grip } from "./overlay";
import { aCell } from "./testing";
import type { Box } from "./cells";

const box: Box = [100, 100, 200, 180];
const GRIPS: Grip[] = ["n", "s", "e", "w", "ne", "nw", "se", "sw", "move"];

test("a point goes to the screen and comes back", () => {
  const lie = { scale: 0.21, dx: -40, dy: 13 };
  const [x1, y1, x2, y2] = toScreen(box, lie);
  expect([...toField(x1, y1, lie), ...toField(x2, y2, lie)].map((v) => Math.round(v * 1e6) / 1e6)).toEqual(box);
});

test("of boxes that lie in one another the smallest is under the pointer", () => {
  const cells = [aCell(1, { box: [0, 0, 400, 400] }), aCell(2, { box }), aCell(3, { box: [50, 50, 300, 300] })];
  expect(under(cells, 150, 150)?.id).toBe(2);
  expect(under(cells, 60, 60)?.id).toBe(3);
  expect(under(cells, 500, 0)).toBeUndefined();
});

describe("the grip", () => {
  test("corners, edges and the inside each have theirs", () => {
    expect(gripAt(box, 100, 100, 7)).toBe("nw");
    expect(gripAt(box, 203, 183, 7)).toBe("se");
    expect(gripAt(box, 150, 98, 7)).toBe("n");
    expect(gripAt(box, 199, 140, 7)).toBe("e");
    expect(gripAt(box, 150, 140, 7)).toBe("move");
    expect(gripAt(box, 250, 140, 7)).toBeNull();
  });
  test("a small box can still be moved by its middle", () => {
    expect(gripAt([0, 0, 9, 9], 4.5, 4.5, 20)).toBe("move");
  });
});

describe("dragging", () => {
  test("never leaves the field, never turns a box inside out, whatever the grip", () => {
    for (const grip of GRIPS) {
      for (const dx of [-1e4, -60, 0, 60, 1e4]) {
        for (const dy of [-1e4, 60, 1e4]) {
          const [x1, y1, x2, y2] = dragged(box, grip, dx, dy, 400, 300);
          expect(x1).toBeGreaterThanOrEqual(0);
          expect(y1).toBeGreaterThanOrEqual(0);
          expect(x2).toBeLessThanOrEqual(400);
          expect(y2).toBeLessThanOrEqual(300);
          expect(x2 - x1).toBeGreaterThanOrEqual(8);
          expect(y2 - y1).toBeGreaterThanOrEqual(8);
        }
      }
    }
  });
  test("moving keeps the size", () => {
    const [x1, y1, x2, y2] = dragged(box, "move", 1e4, -1e4, 400, 300);
    expect([x2 - x1, y2 - y1]).toEqual([100, 80]);
  });
  test("a corner moves two edges and leaves the others", () => {
    expect(dragged(box, "se", 10, 20, 400, 300)).toEqual([100, 100, 210, 200]);
    expect(dragged(box, "n", 10, 20, 400, 300)).toEqual([100, 120, 200, 180]);
  });
});

test("a drawn box is the same from whichever corner, is cut at the field, and is none where it is tiny", () => {
  expect(drawnBox(10, 20, 60, 90, 400, 300)).toEqual([10, 20, 60, 90]);
  expect(drawnBox(60, 90, 10, 20, 400, 300)).toEqual([10, 20, 60, 90]);
  expect(drawnBox(-50, -50, 30, 30, 400, 300)).toEqual([0, 0, 30, 30]);
  expect(drawnBox(10, 10, 12, 90, 400, 300)).toBeNull();
});
