import { describe, expect, it } from "vitest";
import { lengthText, roundLength, windowOf } from "./map";

const patch = (x: number, y: number) => ({ x, y, w: 130, h: 75 });

describe("windowOf", () => {
  it("shows everything that was visited", () => {
    const visited = [patch(0, 0), patch(5000, 300), patch(-700, 9000)];
    const view = windowOf({ visited, fields: [], here: { ...patch(0, 0) } }, 300, 200);
    for (const p of visited) {
      expect((p.x - view.x) * view.scale).toBeGreaterThanOrEqual(0);
      expect((p.y - view.y) * view.scale).toBeGreaterThanOrEqual(0);
      expect((p.x + p.w - view.x) * view.scale).toBeLessThanOrEqual(300);
      expect((p.y + p.h - view.y) * view.scale).toBeLessThanOrEqual(200);
    }
  });
  it("does not fill the map with the first field", () => {
    const view = windowOf({ visited: [patch(0, 0)], fields: [], here: patch(0, 0) }, 300, 200);
    expect(130 * view.scale).toBeLessThan(110);
  });
  it("stands an empty slide", () => expect(windowOf({ visited: [], fields: [], here: null }, 300, 200).scale).toBe(1));
});

describe("scale bar", () => {
  it("is a round length and fits", () => {
    for (const scale of [0.001, 0.03, 0.7, 2, 9]) {
      const um = roundLength(scale, 70);
      expect(um * scale).toBeLessThanOrEqual(70.0001);
      expect(um * scale).toBeGreaterThan(70 / 2.6);
    }
  });
  it("is written in the unit that fits", () => {
    expect(lengthText(200)).toBe("200 µm");
    expect(lengthText(2000)).toBe("2 mm");
  });
});
