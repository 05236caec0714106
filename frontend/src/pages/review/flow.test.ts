import { describe, expect, test } from "vitest";
import { counts, edited, open, reviewOrder, tally, type Cell } from "./cells";
import { acceptable, freshHand, hold, nextDoubtful, pageIds, pageOf, pages, press, span, toPage, type Hand, type Wish } from "./flow";
import { PAGE, PLACES } from "./keys";
import { KEYS, aCell, stroke } from "./testing";

/** A gallery under somebody's hands: what is asked of the archive is done at once. */
class Desk {
  cells: Map<number, Cell>;
  hand: Hand;
  wishes: Wish[] = [];
  keystrokes = 0;

  constructor(cells: Cell[]) {
    this.cells = new Map(cells.map((cell) => [cell.id, cell]));
    this.hand = freshHand(cells.map((cell) => cell.id));
  }

  keys(text: string): this {
    for (const key of text.split(" ")) {
      this.keystrokes += key.split("+").length;
      const step = press(this.hand, stroke(key), { keys: KEYS, cell: (id) => this.cells.get(id) });
      this.hand = step.hand;
      this.wishes.push(...step.wishes);
      for (const wish of step.wishes) if (wish.kind === "edits") wish.edits.forEach((edit) => this.#do(edit.cell_id!, edit));
    }
    return this;
  }

  #do(id: number, edit: Parameters<typeof edited>[1]): void {
    this.cells.set(id, edited(this.cells.get(id)!, edit));
  }

  get held(): number[] {
    return [...this.hand.held];
  }

  at(index: number): Cell {
    return this.cells.get(this.hand.order[index]!)!;
  }
}

const desk = (n: number, rest: (i: number) => Partial<Cell> = () => ({})) =>
  new Desk(Array.from({ length: n }, (_, i) => aCell(i + 1, rest(i))));

describe("the hand", () => {
  test("a place key takes a cell, a class key names it, and the hand is empty", () => {
    const d = desk(80).keys("KeyQ KeyB");
    expect(d.at(10)).toMatchObject({ code: "BAND", reviewed: true });
    expect(d.held).toEqual([]);
    expect(d.wishes).toEqual([{ kind: "edits", edits: [{ kind: "rename", cell_id: 11, code: "BAND", expected: "MYELO" }] }]);
  });

  test("the same key is a place for an empty hand and a class for a full one", () => {
    const d = desk(40).keys("KeyB KeyB");
    expect(d.at(PLACES.indexOf("KeyB")).code).toBe("BAND");
  });

  test("naming a cell as it is called already confirms it", () => {
    const d = desk(40).keys("Digit1 KeyM");
    expect(d.wishes).toEqual([{ kind: "edits", edits: [{ kind: "confirm", cell_id: 1, expected: "MYELO" }] }]);
  });

  test("Shift and a place adds a cell and takes it away, unless the layout has a class there", () => {
    const d = desk(40).keys("Digit1 Shift+Digit2 Shift+Digit3");
    expect(d.held).toEqual([1, 2, 3]);
    expect(d.keys("Shift+Digit2").held).toEqual([1, 3]);
    d.keys("Shift+KeyM");
    expect([d.at(0).code, d.at(1).code, d.at(2).code]).toEqual(["EOS_MYELO", "MYELO", "EOS_MYELO"]);
  });

  test("a key that is no class does nothing to a full hand", () => {
    const d = desk(40).keys("Digit1 KeyQ");
    expect(d.held).toEqual([1]);
    expect(d.wishes).toEqual([]);
  });

  test("a place where no cell lies is empty", () => {
    expect(desk(3).keys("KeyQ").held).toEqual([]);
  });

  test("Enter confirms the page and turns it; with a hand it confirms the hand alone", () => {
    const d = desk(80);
    d.keys("Digit2 Enter");
    expect([...d.cells.values()].filter((c) => c.reviewed).map((c) => c.id)).toEqual([2]);
    expect(pageOf(d.hand)).toBe(0);
    d.keys("Enter");
    expect([...d.cells.values()].filter((c) => c.reviewed)).toHaveLength(PAGE);
    expect(pageOf(d.hand)).toBe(1);
  });

  test("Enter leaves cells alone that were removed or seen before", () => {
    const d = desk(3, (i) => (i === 1 ? { removed: true } : i === 2 ? { same_as: 1 } : {})).keys("Enter");
    expect(d.wishes).toEqual([{ kind: "edits", edits: [{ kind: "confirm", cell_id: 1, expected: "MYELO" }] }]);
  });

  test("what was renamed stays at its place", () => {
    const d = desk(40);
    const before = pageIds(d.hand);
    d.keys("Digit5 KeyL Digit1 KeyS");
    expect(pageIds(d.hand)).toEqual(before);
  });

  test("arrows take what they meet; with Space the hand is pinned and grows", () => {
    const d = desk(40).keys("ArrowRight ArrowDown");
    expect(d.held).toEqual([12]);
    d.keys("Space ArrowRight ArrowRight");
    expect(d.held).toEqual([12]);
    expect(d.keys("Space").held).toEqual([12, 14]);
    expect(d.keys("Space").held).toEqual([12]);
    expect(desk(40).keys("Space Shift+ArrowRight").held).toEqual([1, 2]);
  });

  test("arrows stop at the ends", () => {
    const d = desk(5).keys("ArrowLeft ArrowUp");
    expect(d.hand.cursor).toBe(0);
    expect(d.keys("ArrowDown").hand.cursor).toBe(0);
  });

  test("Delete removes, and brings back what is removed already", () => {
    const d = desk(40).keys("Digit1 Shift+Digit2 Delete");
    expect([d.at(0).removed, d.at(1).removed, d.at(2).removed]).toEqual([true, true, false]);
    d.keys("Digit1 Delete");
    expect([d.at(0).removed, d.at(1).removed]).toEqual([false, true]);
    expect(desk(40).keys("Delete").wishes).toEqual([]);
  });

  test("a removed cell cannot be named", () => {
    const d = desk(40, (i) => (i === 0 ? { removed: true } : {})).keys("Digit1 Shift+Digit2 KeyL");
    expect(d.wishes).toEqual([{ kind: "edits", edits: [{ kind: "rename", cell_id: 2, code: "LYM", expected: "MYELO" }] }]);
  });

  test("Escape empties the hand, and with an empty hand leaves", () => {
    const d = desk(40).keys("Digit1 Escape");
    expect(d.held).toEqual([]);
    expect(d.wishes).toEqual([]);
    expect(d.keys("Escape").wishes).toEqual([{ kind: "leave" }]);
  });

  test("Ctrl+A holds the page, and one key names it", () => {
    const d = desk(80).keys("Ctrl+KeyA KeyL");
    expect([...d.cells.values()].filter((c) => c.code === "LYM")).toHaveLength(PAGE);
    expect(d.wishes).toHaveLength(1);
  });
});

describe("the queue", () => {
  const d = () => desk(100, (i) => ({ doubt: i === 70 ? 0.9 : i === 5 ? 0.8 : i === 6 ? 0.7 : 0.1 }));

  test("brings the most doubtful cell of all pages, and after each answer the next", () => {
    const q = d().keys("Backquote");
    expect(q.held).toEqual([71]);
    expect(pageOf(q.hand)).toBe(1);
    expect(q.keys("Enter").held).toEqual([6]);
    expect(q.keys("KeyL").held).toEqual([7]);
    expect(q.cells.get(6)).toMatchObject({ code: "LYM", reviewed: true });
    expect(q.keys("Delete").held).toHaveLength(1);
  });

  test("Escape ends it", () => {
    const q = d().keys("Backquote Escape");
    expect(q.hand.queue).toBe(false);
    expect(q.keys("Digit1 KeyL").held).toEqual([]);
  });

  test("ends by itself where everything is reviewed", () => {
    const q = desk(2).keys("Backquote Enter Enter");
    expect(q.hand.queue).toBe(false);
    expect(q.held).toEqual([]);
  });

  test("leaves out what was removed", () => {
    const q = desk(2, () => ({ doubt: 0.5 })).keys("Backquote Delete");
    expect(q.held).toEqual([2]);
  });
});

describe("accept all above the threshold", () => {
  test("brackets move the threshold by a twentieth, and it stays within 0 and 1", () => {
    const d = desk(1).keys("BracketRight BracketRight");
    expect(d.hand.threshold).toBe(0.9);
    for (let i = 0; i < 30; i += 1) d.keys("BracketLeft");
    expect(d.hand.threshold).toBe(0);
    expect(d.keys("BracketRight Equal").wishes).toEqual([{ kind: "accept", above: 0.05 }]);
  });

  test("the preview counts open cells at or above the threshold", () => {
    const cells = [
      aCell(1, { score: 0.8 }),
      aCell(2, { score: 0.79 }),
      aCell(3, { score: 0.9, reviewed: true }),
      aCell(4, { score: 0.9, removed: true }),
      aCell(5, { score: 0.9, same_as: 1 }),
      aCell(6, { score: null }),
    ];
    expect(acceptable(cells, 0.8)).toBe(1);
  });
});

describe("pages", () => {
  test("stay within the snapshot", () => {
    const hand = freshHand(Array.from({ length: 81 }, (_, i) => i));
    expect(pages(hand)).toBe(3);
    expect(pageOf(toPage(hand, 99))).toBe(2);
    expect(pageOf(toPage(hand, -1))).toBe(0);
    expect(pageIds(hand, 2)).toEqual([80]);
    expect(pages(freshHand([]))).toBe(1);
  });

  test("turning a page confirms nothing", () => {
    const d = desk(100).keys("PageDown PageDown PageUp End Home");
    expect(d.wishes).toEqual([]);
    expect(pageOf(d.hand)).toBe(0);
  });
});

describe("the mouse", () => {
  const hand = freshHand([5, 6, 7, 8, 9]);
  test("a span holds everything between, in either direction", () => {
    expect([...span({ ...hand, cursor: 3, held: new Set([8]) }, 1).held].sort()).toEqual([6, 7, 8]);
    expect([...span({ ...hand, cursor: 1, held: new Set([6]) }, 3).held].sort()).toEqual([6, 7, 8]);
  });
  test("a frame holds what it touches, or adds it", () => {
    expect([...hold(hand, [6, 7]).held]).toEqual([6, 7]);
    expect([...hold({ ...hand, held: new Set([9]) }, [6], true).held]).toEqual([9, 6]);
  });
});

test("200 cells, 20 of them wrong: at most 60 keystrokes, and every cell is right and reviewed", () => {
  const truth = (id: number) => (id % 10 === 3 ? "LYM" : "MYELO");
  const d = desk(200);
  for (let page = 0; page < pages(d.hand); page += 1) {
    pageIds(d.hand, page).forEach((id, place) => {
      if (d.cells.get(id)!.code !== truth(id)) d.keys(`${PLACES[place]} KeyL`);
    });
    d.keys("Enter");
  }
  expect([...d.cells.values()].every((cell) => cell.reviewed && cell.code === truth(cell.id))).toBe(true);
  expect(d.keystrokes).toBeLessThanOrEqual(60);
});

describe("order", () => {
  const cells = [
    aCell(1, { code: "LYM", doubt: 0.1 }),
    aCell(2, { code: "LYM", doubt: 0.9 }),
    aCell(3, { code: "BASO", doubt: 0.2 }),
    aCell(4, { code: "OTHER", doubt: 0.1 }),
    aCell(5, { code: "OTHER", doubt: 0.5 }),
    aCell(6, { code: "OTHER", doubt: 0.4 }),
  ];
  test("the unidentified first, then the rarest class, the most doubtful first in each", () => {
    expect(reviewOrder(cells, "OTHER")).toEqual([5, 6, 4, 3, 2, 1]);
  });
  test("does not depend on the order in which cells come", () => {
    expect(reviewOrder([...cells].reverse(), "OTHER")).toEqual(reviewOrder(cells, "OTHER"));
  });
  test("the tally leaves out what does not count", () => {
    const counted = tally([...cells, aCell(7, { code: "LYM", removed: true }), aCell(8, { code: "LYM", reviewed: true })]);
    expect(counted.get("LYM")).toEqual({ count: 3, reviewed: 1 });
    expect(counts(aCell(9, { same_as: 1 }))).toBe(false);
    expect(open(aCell(9, { reviewed: true }))).toBe(false);
  });
  test("the next doubtful is the most doubtful of the whole case, the earlier of two equals", () => {
    const world = { keys: {}, cell: (id: number) => cells.find((cell) => cell.id === id) };
    const hand = freshHand([4, 2, 1]);
    expect(nextDoubtful(hand, world)).toBe(1);
    expect(nextDoubtful(hand, world, new Set([2]))).toBe(0);
  });
});
