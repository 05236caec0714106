/** What the review works on: a cell as the server tells it, and the few questions asked of it everywhere. */

export type Box = [number, number, number, number];

export interface Cell {
  id: number;
  field_id: number;
  box: Box;
  /** Its name now. */
  code: string;
  /** What the model called it; null where a person added it. */
  called: string | null;
  score: number | null;
  /** 0 certain .. 1 a guess. */
  doubt: number;
  reviewed: boolean;
  removed: boolean;
  /** The cell that this one is, seen again in an overlapping field. */
  same_as: number | null;
}

/** One wish of a person. `expected`: the code that the person saw. */
export interface Edit {
  kind: "rename" | "confirm" | "move" | "add" | "remove" | "restore";
  cell_id?: number;
  field_id?: number;
  code?: string;
  box?: Box;
  expected?: string;
}

/** The cell as it will be after an edit. An ADD makes no cell here: its number is the archive's to give. */
export function edited(cell: Cell, edit: Edit): Cell {
  switch (edit.kind) {
    case "rename":
      return { ...cell, code: edit.code ?? cell.code, reviewed: true };
    case "confirm":
      return { ...cell, reviewed: true };
    case "move":
      return { ...cell, box: edit.box ?? cell.box };
    case "remove":
      return { ...cell, removed: true };
    case "restore":
      return { ...cell, removed: false };
    case "add":
      return cell;
  }
}

/** Whether it enters the differential, if its class does. */
export function counts(cell: Cell): boolean {
  return !cell.removed && cell.same_as === null;
}

/** Whether a person has still to look at it. */
export function open(cell: Cell): boolean {
  return !cell.reviewed && counts(cell);
}

/** Cells of every class: counted ones, and those of them that a person has looked at. */
export function tally(cells: Iterable<Cell>): Map<string, { count: number; reviewed: number }> {
  const tallied = new Map<string, { count: number; reviewed: number }>();
  for (const cell of cells) {
    if (!counts(cell)) continue;
    const entry = tallied.get(cell.code) ?? { count: 0, reviewed: 0 };
    entry.count += 1;
    if (cell.reviewed) entry.reviewed += 1;
    tallied.set(cell.code, entry);
  }
  return tallied;
}

/**
 * The order of a review: the unidentified first, then class by class from the rarest, the most doubtful first in each.
 * Ties fall by code and by id, so that the same cells always come in the same order.
 */
export function reviewOrder(cells: readonly Cell[], other: string | null): number[] {
  const frequency = tally(cells);
  const rank = (cell: Cell): number => (cell.code === other ? -1 : (frequency.get(cell.code)?.count ?? 0));
  return [...cells]
    .sort((a, b) => rank(a) - rank(b) || (a.code < b.code ? -1 : a.code > b.code ? 1 : 0) || b.doubt - a.doubt || a.id - b.id)
    .map((cell) => cell.id);
}

/** The address of a cell's picture; it changes with the box, so that a moved box never shows its old picture. */
export function cropUrl(cell: Cell, size = 128): string {
  const place = cell.box.map((edge) => Math.round(edge)).join(".");
  return `/api/cells/${cell.id}/crop?size=${size}&box=${place}`;
}
