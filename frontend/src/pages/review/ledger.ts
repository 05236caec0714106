/**
 * Edits on their way to the archive: shown at once, sent one after another, taken back where the archive refuses.
 *
 * What is shown = what the archive said last (`truth`), and on top of it every group that is still on its way, in the
 * order in which it was made. A group that is refused leaves the pile, and what was shown for its cells is worked out
 * anew; nobody has to remember how to put anything back. A group that could not be sent (station restarting, cable out)
 * stays in the pile and is tried again, so that no work is lost.
 */

import { counts, edited, type Cell, type Edit } from "./cells";

/** How the ledger speaks to the archive. Each answers with the cells as they are now. */
export interface Archive {
  edit(edits: readonly Edit[]): Promise<Cell[]>;
  undo(): Promise<Cell[]>;
  /** Confirms every open cell at or above a score; answers with how many. */
  accept(above: number): Promise<number>;
}

/** Why a group was refused, and what it was about. */
export interface Refusal {
  ids: number[];
  /** Somebody else changed one of these cells meanwhile. */
  conflict: boolean;
  problem: unknown;
}

type Deed =
  | { kind: "edits"; edits: Edit[] }
  | { kind: "undo"; restores: Map<number, Cell>; group: Deed | null }
  | { kind: "accept"; above: number; ids: Set<number> };

interface Item {
  deed: Deed;
  ids: readonly number[];
  settled: (outcome: Outcome) => void;
}

/** What became of a deed. `added`: the cells the archive made for it. */
export interface Outcome {
  done: boolean;
  cells: Cell[];
  accepted?: number;
}

export interface Watcher {
  /** These cells look otherwise now. */
  changed(ids: readonly number[]): void;
  refused(refusal: Refusal): void;
  /** How many groups wait, and whether the station does not answer. */
  waiting(groups: number, offline: boolean): void;
}

/** Status of a problem, as far as it has one. */
const statusOf = (problem: unknown): number => {
  const status = (problem as { status?: unknown } | null)?.status;
  return typeof status === "number" ? status : 0;
};

/** Whether the deed may be sent again as it was: it never arrived, or it fell at the gate. */
const worthRetrying = (problem: unknown): boolean => statusOf(problem) === 0 || [502, 503, 504].includes(statusOf(problem));

export class Ledger {
  #truth = new Map<number, Cell>();
  #shown = new Map<number, Cell>();
  #pile: Item[] = [];
  /** Deeds that an undo would take back, newest last, with how their cells looked before. */
  #past: { deed: Deed; before: Map<number, Cell> }[] = [];
  #refused = new WeakSet<Deed>();
  #sending = false;
  #offline = false;

  constructor(
    private readonly archive: Archive,
    private readonly watcher: Watcher,
    /** Waits before the n-th attempt; a test passes one that does not. */
    private readonly pause: (attempt: number) => Promise<void> = (attempt) =>
      new Promise((go) => setTimeout(go, Math.min(500 * 2 ** attempt, 10_000))),
  ) {}

  /** A cell as it is shown. */
  cell(id: number): Cell | undefined {
    return this.#shown.get(id);
  }

  cells(): IterableIterator<Cell> {
    return this.#shown.values();
  }

  get size(): number {
    return this.#shown.size;
  }

  get waiting(): number {
    return this.#pile.length;
  }

  /** What the archive says of these cells. */
  learn(cells: readonly Cell[]): void {
    for (const cell of cells) this.#truth.set(cell.id, cell);
    this.#redraw(cells.map((cell) => cell.id));
  }

  /** One group of edits: shown at once, sent in its turn. */
  edit(edits: Edit[]): Promise<Outcome> {
    const ids = edits.flatMap((edit) => edit.cell_id ?? []);
    return this.#put({ kind: "edits", edits }, ids);
  }

  /** Takes back the newest group; shown at once where it was made here. */
  undo(): Promise<Outcome> {
    const last = this.#past.pop();
    const deed: Deed = { kind: "undo", restores: last?.before ?? new Map(), group: last?.deed ?? null };
    return this.#put(deed, [...deed.restores.keys()]);
  }

  /** Confirms every open cell at or above a score. */
  accept(above: number): Promise<Outcome> {
    const ids: number[] = [];
    for (const cell of this.#shown.values()) {
      if (!cell.reviewed && counts(cell) && cell.score !== null && cell.score >= above) ids.push(cell.id);
    }
    return this.#put({ kind: "accept", above, ids: new Set(ids) }, ids);
  }

  #put(deed: Deed, ids: number[]): Promise<Outcome> {
    return new Promise((settled) => {
      if (deed.kind !== "undo") {
        const before = new Map(ids.flatMap((id) => (this.#shown.has(id) ? [[id, this.#shown.get(id)!] as const] : [])));
        this.#past.push({ deed, before });
      }
      this.#pile.push({ deed, ids, settled });
      this.#redraw(ids);
      this.#tell();
      void this.#send();
    });
  }

  /** What is shown of these cells, from the truth and the pile. */
  #redraw(ids: readonly number[]): void {
    for (const id of ids) {
      let cell = this.#truth.get(id);
      for (const item of this.#pile) {
        if (!cell) break;
        const deed = item.deed;
        if (deed.kind === "edits") {
          for (const edit of deed.edits) if (edit.cell_id === id) cell = edited(cell, edit);
        } else if (deed.kind === "accept") {
          if (deed.ids.has(id)) cell = { ...cell, reviewed: true };
        } else {
          cell = deed.restores.get(id) ?? cell;
        }
      }
      if (cell) this.#shown.set(id, cell);
      else this.#shown.delete(id);
    }
    if (ids.length) this.watcher.changed(ids);
  }

  #tell(): void {
    this.watcher.waiting(this.#pile.length, this.#offline);
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    for (let item = this.#pile[0]; item; item = this.#pile[0]) {
      const outcome = await this.#deliver(item);
      this.#pile.shift();
      // The answer is the truth; what later groups say of the same cells still lies on top of it.
      for (const cell of outcome.cells) this.#truth.set(cell.id, cell);
      this.#redraw([...new Set([...item.ids, ...outcome.cells.map((cell) => cell.id)])]);
      this.#tell();
      item.settled(outcome);
    }
    this.#sending = false;
  }

  async #deliver(item: Item): Promise<Outcome> {
    const deed = item.deed;
    // The archive would take back its newest group; where the one that was meant never got there, that is another one.
    if (deed.kind === "undo" && deed.group && this.#refused.has(deed.group)) return { done: false, cells: [] };
    for (let attempt = 0; ; attempt += 1) {
      try {
        const outcome = await this.#ask(item);
        this.#offline = false;
        return outcome;
      } catch (problem) {
        // A box that was added twice would be a cell that is counted twice: that is not tried again by itself.
        const adds = deed.kind === "edits" && deed.edits.some((edit) => edit.kind === "add");
        if (worthRetrying(problem) && !adds && deed.kind !== "undo") {
          this.#offline = true;
          this.#tell();
          await this.pause(attempt);
          continue;
        }
        this.#offline = false;
        this.#refused.add(deed);
        this.#past = this.#past.filter((entry) => entry.deed !== deed);
        this.watcher.refused({ ids: [...item.ids], conflict: statusOf(problem) === 409, problem });
        return { done: false, cells: [] };
      }
    }
  }

  async #ask(item: Item): Promise<Outcome> {
    const deed = item.deed;
    if (deed.kind === "edits") return { done: true, cells: await this.archive.edit(deed.edits) };
    if (deed.kind === "undo") return { done: true, cells: await this.archive.undo() };
    const accepted = await this.archive.accept(deed.above);
    // The archive says how many, not which; those it shows as open still are asked for by whoever opens them.
    const cells = [...deed.ids].flatMap((id) => {
      const cell = this.#truth.get(id);
      return cell ? [{ ...cell, reviewed: true }] : [];
    });
    return { done: true, cells, accepted };
  }
}
