import { describe, expect, test } from "vitest";
import { ApiError } from "$lib/api";
import { edited, type Cell, type Edit } from "./cells";
import { Ledger, type Archive, type Refusal } from "./ledger";
import { aCell } from "./testing";

/** An archive in memory, with groups that can be undone; `fail` is thrown instead of the next answers. */
class Memory implements Archive {
  cells = new Map<number, Cell>();
  groups: Map<number, Cell>[] = [];
  fail: unknown[] = [];
  sent: string[] = [];

  constructor(cells: Cell[]) {
    for (const cell of cells) this.cells.set(cell.id, cell);
  }

  async #gate(what: string): Promise<void> {
    await Promise.resolve();
    this.sent.push(what);
    const failure = this.fail.shift();
    if (failure) throw failure;
  }

  async edit(edits: readonly Edit[]): Promise<Cell[]> {
    await this.#gate(edits.map((edit) => `${edit.kind} ${edit.cell_id}`).join(", "));
    for (const edit of edits) {
      const now = this.cells.get(edit.cell_id!);
      if (edit.expected && now?.code !== edit.expected) throw new ApiError(409, "Conflict", "wang named it LYM");
    }
    this.groups.push(new Map(edits.map((edit) => [edit.cell_id!, this.cells.get(edit.cell_id!)!])));
    return edits.map((edit) => {
      const cell = edited(this.cells.get(edit.cell_id!)!, edit);
      this.cells.set(cell.id, cell);
      return cell;
    });
  }

  async undo(): Promise<Cell[]> {
    await this.#gate("undo");
    const group = this.groups.pop() ?? new Map<number, Cell>();
    for (const [id, cell] of group) this.cells.set(id, cell);
    return [...group.values()];
  }

  async accept(above: number): Promise<number> {
    await this.#gate(`accept ${above}`);
    const taken = [...this.cells.values()].filter((cell) => !cell.reviewed && cell.score !== null && cell.score >= above);
    this.groups.push(new Map(taken.map((cell) => [cell.id, cell])));
    for (const cell of taken) this.cells.set(cell.id, { ...cell, reviewed: true });
    return taken.length;
  }
}

function open(cells: Cell[]) {
  const archive = new Memory(cells);
  const refusals: Refusal[] = [];
  let offline = false;
  let everOffline = false;
  const watcher = {
    changed: () => {},
    refused: (refusal: Refusal) => refusals.push(refusal),
    waiting: (_: number, off: boolean) => {
      offline = off;
      everOffline ||= off;
    },
  };
  const ledger = new Ledger(archive, watcher, async () => {});
  ledger.learn(cells);
  return { archive, ledger, refusals, offline: () => offline, everOffline: () => everOffline };
}

const rename = (id: number, code: string, expected: string): Edit => ({ kind: "rename", cell_id: id, code, expected });

describe("an edit", () => {
  test("is shown before the archive has answered, and is there afterwards", async () => {
    const { ledger, archive } = open([aCell(1)]);
    const done = ledger.edit([rename(1, "LYM", "MYELO")]);
    expect(ledger.cell(1)).toMatchObject({ code: "LYM", reviewed: true });
    expect(archive.cells.get(1)?.code).toBe("MYELO");
    expect((await done).done).toBe(true);
    expect(ledger.cell(1)).toEqual(archive.cells.get(1));
  });

  test("goes out in the order in which it was made, one at a time", async () => {
    const { ledger, archive } = open([aCell(1), aCell(2)]);
    await Promise.all([
      ledger.edit([rename(1, "LYM", "MYELO")]),
      ledger.edit([rename(1, "BAND", "LYM")]),
      ledger.edit([{ kind: "confirm", cell_id: 2 }]),
    ]);
    expect(archive.sent).toEqual(["rename 1", "rename 1", "confirm 2"]);
    expect(archive.cells.get(1)?.code).toBe("BAND");
  });

  test("that is refused disappears, and what others did stays", async () => {
    const { ledger, archive, refusals } = open([aCell(1), aCell(2)]);
    archive.fail.push(new ApiError(423, "Locked", "signed"));
    const [first, second] = await Promise.all([
      ledger.edit([rename(1, "LYM", "MYELO")]),
      ledger.edit([rename(2, "BAND", "MYELO")]),
    ]);
    expect([first.done, second.done]).toEqual([false, true]);
    expect(ledger.cell(1)).toMatchObject({ code: "MYELO", reviewed: false });
    expect(ledger.cell(2)).toMatchObject({ code: "BAND" });
    expect(refusals).toMatchObject([{ ids: [1], conflict: false }]);
  });

  test("of a cell that somebody else has changed is told as a conflict", async () => {
    const { ledger, archive, refusals } = open([aCell(1)]);
    archive.cells.set(1, aCell(1, { code: "LYM", reviewed: true }));
    await ledger.edit([rename(1, "BAND", "MYELO")]);
    expect(refusals).toMatchObject([{ ids: [1], conflict: true }]);
    expect(ledger.cell(1)?.code).toBe("MYELO");
    ledger.learn([archive.cells.get(1)!]);
    expect(ledger.cell(1)?.code).toBe("LYM");
  });

  test("built on a refused one is refused by the archive too, and nothing wrong is left on the screen", async () => {
    const { ledger, archive } = open([aCell(1)]);
    archive.fail.push(new ApiError(400, "Bad", "no"));
    await Promise.all([ledger.edit([rename(1, "LYM", "MYELO")]), ledger.edit([rename(1, "BAND", "LYM")])]);
    expect(ledger.cell(1)).toEqual(archive.cells.get(1));
    expect(ledger.waiting).toBe(0);
  });

  test("waits while the station does not answer, and is not lost", async () => {
    const { ledger, archive, refusals, offline, everOffline } = open([aCell(1)]);
    archive.fail.push(new TypeError("Failed to fetch"), new ApiError(503, "503", "starting"));
    const outcome = await ledger.edit([rename(1, "LYM", "MYELO")]);
    expect(outcome.done).toBe(true);
    expect(archive.cells.get(1)?.code).toBe("LYM");
    expect([everOffline(), offline()]).toEqual([true, false]);
    expect(refusals).toEqual([]);
  });

  test("that adds a box is never sent twice by itself", async () => {
    const { ledger, archive, refusals } = open([]);
    archive.fail.push(new TypeError("Failed to fetch"));
    await ledger.edit([{ kind: "add", field_id: 1, code: "LYM", box: [0, 0, 9, 9] }]);
    expect(archive.sent).toHaveLength(1);
    expect(refusals).toHaveLength(1);
  });
});

describe("undo", () => {
  test("shows at once how it was, and brings the archive there", async () => {
    const { ledger, archive } = open([aCell(1)]);
    await ledger.edit([rename(1, "LYM", "MYELO")]);
    const undone = ledger.undo();
    expect(ledger.cell(1)).toMatchObject({ code: "MYELO", reviewed: false });
    await undone;
    expect(archive.cells.get(1)).toMatchObject({ code: "MYELO", reviewed: false });
  });

  test("takes back groups one by one, newest first, also while they are on their way", async () => {
    const { ledger, archive } = open([aCell(1), aCell(2)]);
    await Promise.all([
      ledger.edit([rename(1, "LYM", "MYELO")]),
      ledger.edit([rename(2, "BAND", "MYELO")]),
      ledger.undo(),
      ledger.undo(),
    ]);
    expect([...archive.cells.values()].map((cell) => cell.code)).toEqual(["MYELO", "MYELO"]);
    expect(ledger.cell(1)).toEqual(archive.cells.get(1));
    expect(ledger.cell(2)).toEqual(archive.cells.get(2));
  });

  test("of a group that was refused takes back nothing older", async () => {
    const { ledger, archive } = open([aCell(1), aCell(2)]);
    await ledger.edit([rename(1, "LYM", "MYELO")]);
    archive.fail.push(new ApiError(409, "Conflict", "no"));
    await Promise.all([ledger.edit([rename(2, "BAND", "MYELO")]), ledger.undo()]);
    expect(archive.cells.get(1)?.code).toBe("LYM");
    expect(archive.sent).not.toContain("undo");
  });

  test("of what was done before this page was opened is left to the archive", async () => {
    const { ledger, archive } = open([aCell(1)]);
    await archive.edit([rename(1, "LYM", "MYELO")]);
    ledger.learn([...archive.cells.values()]);
    await ledger.undo();
    expect(ledger.cell(1)?.code).toBe("MYELO");
  });
});

test("accepting above a threshold shows at once, counts, and can be undone", async () => {
  const { ledger, archive } = open([aCell(1, { score: 0.9 }), aCell(2, { score: 0.5 }), aCell(3, { score: 0.8 })]);
  const accepting = ledger.accept(0.8);
  expect([1, 2, 3].map((id) => ledger.cell(id)?.reviewed)).toEqual([true, false, true]);
  expect((await accepting).accepted).toBe(2);
  await ledger.undo();
  expect([...ledger.cells()].some((cell) => cell.reviewed)).toBe(false);
  expect([...archive.cells.values()].some((cell) => cell.reviewed)).toBe(false);
});
