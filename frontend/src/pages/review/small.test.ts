import { describe, expect, test } from "vitest";
import { doubtful, freshCanvas, nearest, nudge, pressOnCanvas, type Canvas } from "./canvasflow";
import { EffortCounter, IDLE_MS } from "./effort";
import { KEYS, aCell, stroke } from "./testing";
import { pageInSight, rowsInSight } from "./virtual";

describe("effort", () => {
  test("counts keys that go down, and not those that are held", () => {
    const effort = new EffortCounter(0);
    effort.key(1000, false);
    effort.key(1500, true);
    effort.click(2000);
    expect(effort.take(3000)).toEqual({ seconds: 3, keystrokes: 1, clicks: 1 });
    expect(effort.take(3000)).toBeNull();
  });

  test("stops a minute after the last deed", () => {
    const effort = new EffortCounter(0);
    effort.key(0, false);
    expect(effort.take(10 * IDLE_MS)?.seconds).toBe(IDLE_MS / 1000);
    effort.key(11 * IDLE_MS, false);
    expect(effort.take(11 * IDLE_MS + 5000)?.seconds).toBe(5);
  });

  test("does not run while the page is hidden", () => {
    const effort = new EffortCounter(0);
    effort.visible(2000, false);
    effort.visible(50_000, true);
    expect(effort.take(53_000)?.seconds).toBe(5);
  });

  test("loses no part of a second, however often it is asked", () => {
    const effort = new EffortCounter(0);
    let seconds = 0;
    for (let now = 0; now <= 60_000; now += 700) {
      effort.key(now, false);
      seconds += effort.take(now)?.seconds ?? 0;
    }
    expect(seconds).toBe(59);
  });

  test("what could not be sent comes along the next time", () => {
    const effort = new EffortCounter(0);
    effort.key(4000, false);
    effort.giveBack(effort.take(4000)!);
    expect(effort.take(5000)).toEqual({ seconds: 5, keystrokes: 1, clicks: 0 });
  });
});

describe("the canvas", () => {
  // Ten a row, 100 px apart: 11 lies below 1, 2 right of it.
  const cells = Array.from({ length: 30 }, (_, i) => aCell(i, { doubt: i / 100 }));
  const sight = { field: 7, cells, keys: KEYS };
  const keys = (text: string, canvas: Canvas = freshCanvas()) => {
    const wishes = [];
    for (const key of text.split(" ")) {
      const step = pressOnCanvas(canvas, stroke(key), sight);
      canvas = step.canvas;
      wishes.push(...step.wishes);
    }
    return { canvas, wishes };
  };

  test("arrows go to the nearest box in that direction", () => {
    expect(nearest(cells, cells[12], "right")?.id).toBe(13);
    expect(nearest(cells, cells[12], "left")?.id).toBe(11);
    expect(nearest(cells, cells[12], "down")?.id).toBe(22);
    expect(nearest(cells, cells[12], "up")?.id).toBe(2);
    expect(nearest(cells, cells[0], "up")).toBeUndefined();
  });

  test("letters do nothing to an empty hand and name the box in a full one", () => {
    expect(keys("KeyL").wishes).toEqual([]);
    expect(keys("ArrowRight ArrowRight KeyL").wishes).toEqual([
      { kind: "edits", edits: [{ kind: "rename", cell_id: 1, code: "LYM", expected: "MYELO" }] },
    ]);
  });

  test("Enter confirms the box and takes the next unreviewed one; with an empty hand the field", () => {
    const one = keys("Backquote Enter");
    expect(one.wishes).toEqual([{ kind: "edits", edits: [{ kind: "confirm", cell_id: 29, expected: "MYELO" }] }]);
    expect(one.canvas.held).toBe(28);
    const all = keys("Enter").wishes;
    expect(all[0]).toMatchObject({ kind: "edits" });
    expect(all[0]?.kind === "edits" && all[0].edits).toHaveLength(30);
    expect(all[1]).toEqual({ kind: "field", by: 1 });
  });

  test("a drawn box gets its name before it is sent, and Escape drops it", () => {
    const drawn: Canvas = { ...freshCanvas(), drawn: [1, 2, 30, 40] };
    expect(keys("KeyL", drawn).wishes).toEqual([
      { kind: "edits", edits: [{ kind: "add", field_id: 7, code: "LYM", box: [1, 2, 30, 40] }] },
    ]);
    const dropped = keys("Escape", drawn);
    expect(dropped.canvas.drawn).toBeNull();
    expect(dropped.wishes).toEqual([]);
  });

  test("Delete removes the box in hand", () => {
    expect(keys("Backquote Delete").wishes).toEqual([
      { kind: "edits", edits: [{ kind: "remove", cell_id: 29, expected: "MYELO" }] },
    ]);
  });

  test("the most doubtful leaves out what has been looked at", () => {
    expect(doubtful([aCell(1, { doubt: 0.9, reviewed: true }), aCell(2)])?.id).toBe(2);
    expect(doubtful([])).toBeUndefined();
  });

  test("Alt and an arrow moves a box by a pixel and never out of the field", () => {
    expect(nudge([0, 0, 10, 10], stroke("Alt+ArrowRight"), 100, 100)).toEqual([1, 0, 11, 10]);
    expect(nudge([0, 0, 10, 10], stroke("Alt+ArrowLeft"), 100, 100)).toEqual([0, 0, 10, 10]);
    expect(nudge([90, 90, 100, 100], stroke("Shift+Alt+ArrowRight"), 100, 100)).toEqual([90, 90, 100, 100]);
    expect(nudge([5, 5, 10, 10], stroke("Shift+Alt+ArrowDown"), 100, 100)).toEqual([5, 5, 10, 11]);
    expect(nudge([5, 5, 10, 10], stroke("ArrowDown"), 100, 100)).toBeNull();
  });
});

describe("rows in sight", () => {
  test("cover the view wherever it is scrolled to", () => {
    for (let scroll = 0; scroll <= 500 * 130; scroll += 977) {
      const { from, to } = rowsInSight(500, 130, scroll, 560);
      expect(from * 130).toBeLessThanOrEqual(scroll);
      expect(to * 130).toBeGreaterThanOrEqual(Math.min(scroll + 560, 500 * 130));
      expect(to - from).toBeLessThan(16);
    }
  });
  test("are none where there are none", () => {
    expect(rowsInSight(0, 130, 0, 560)).toMatchObject({ from: 0, to: 0, height: 0 });
  });
  test("the page in sight is the one that fills most of the view", () => {
    expect(pageInSight(0, 130, 4, 9)).toBe(0);
    expect(pageInSight(270, 130, 4, 9)).toBe(1);
    expect(pageInSight(1e9, 130, 4, 9)).toBe(8);
  });
});
