/**
 * What the review page knows of one case, and the one way to change it.
 *
 * Cells are shown from the ledger (edits at once, taken back where refused); counts follow each edit in the same frame;
 * intervals, flags and the verdict come from the station a moment later.
 */

import { api, ask } from "$lib/api";
import { classes } from "$lib/scheme.svelte";
import { session } from "$lib/session.svelte";
import { complain, say } from "$lib/toasts.svelte";
import type { Correction, Differential, KeptField, Keyboard, SpecimenDetail } from "$lib/types";
import { SvelteMap } from "svelte/reactivity";
import { counts, reviewOrder, tally, type Cell, type Edit } from "./cells";
import { acceptable } from "./flow";
import { Ledger, type Outcome, type Refusal } from "./ledger";

const MOST_A_PAGE = 1000;
const MOST_EDITS = 2000;

/** As the station sends them, boxes are lists; they have four numbers. */
const asCells = (cells: readonly { box: number[] }[]): Cell[] => cells as unknown as Cell[];

export class ReviewDesk {
  detail = $state.raw<SpecimenDetail | null>(null);
  fields = $state.raw<KeptField[]>([]);
  differential = $state.raw<Differential | null>(null);
  keyboard = $state.raw<Keyboard>({ name: "", title: "", keys: {} });
  problem = $state.raw<unknown>(null);
  /** Every cell of the case is here. */
  loaded = $state(false);
  waiting = $state(0);
  offline = $state(false);
  /** Cells as they are shown, by id; templates follow single cells. */
  readonly cells = new SvelteMap<number, Cell>();
  /** Ids in review order, as the station gave them when the case was opened. */
  ids = $state.raw<number[]>([]);
  tally = $state.raw(new Map<string, { count: number; reviewed: number }>());

  /** Grows with every change; what reads all cells at once follows this instead of each cell. */
  #version = $state(0);
  readonly #ledger: Ledger;
  #settling = 0;
  #stale = false;
  #closed = false;

  constructor(readonly id: number) {
    const path = { specimen_id: id };
    this.#ledger = new Ledger(
      {
        edit: async (edits) => {
          const answer = await ask(api.POST("/api/specimens/{specimen_id}/edits", { params: { path }, body: { edits: [...edits], why: "" } }));
          return asCells(answer.cells);
        },
        undo: async () => asCells((await ask(api.POST("/api/specimens/{specimen_id}/undo", { params: { path } }))).cells),
        accept: async (above) => (await ask(api.POST("/api/specimens/{specimen_id}/accept", { params: { path }, body: { above } }))).accepted,
      },
      {
        changed: (ids) => this.#changed(ids),
        refused: (refusal) => void this.#refused(refusal),
        waiting: (groups, offline) => {
          this.waiting = groups;
          this.offline = offline;
          if (!groups) this.#refreshSoon();
        },
      },
    );
  }

  /** A cell as it is shown, without following it. */
  peek(id: number): Cell | undefined {
    return this.#ledger.cell(id);
  }

  /** Every cell that is known, without following them. */
  every(): Cell[] {
    return [...this.#ledger.cells()];
  }

  /** Class by key. */
  get keys(): Readonly<Record<string, string>> {
    return this.keyboard.keys;
  }

  get signed(): boolean {
    return this.detail?.specimen.state === "signed";
  }

  /** Whether this person may change anything here. */
  get writable(): boolean {
    return session.works && this.detail !== null && !this.signed;
  }

  async open(): Promise<void> {
    this.problem = null;
    const path = { specimen_id: this.id };
    try {
      const [detail, keyboards, fields] = await Promise.all([
        ask(api.GET("/api/specimens/{specimen_id}", { params: { path } })),
        ask(api.GET("/api/keyboards")),
        ask(api.GET("/api/specimens/{specimen_id}/fields", { params: { path } })),
        this.refresh(),
      ]);
      const mine = session.me?.keyboard ?? "default";
      this.keyboard = keyboards.find((k) => k.name === mine) ?? keyboards[0] ?? this.keyboard;
      this.fields = fields;
      this.ids = await this.#all();
      this.detail = detail;
      this.loaded = true;
    } catch (problem) {
      this.problem = problem;
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#settling);
  }

  async #page(offset: number, removed: boolean): Promise<{ items: Cell[]; total: number }> {
    const query = { order: "doubt" as const, limit: MOST_A_PAGE, offset, removed };
    const page = await ask(api.GET("/api/specimens/{specimen_id}/cells", { params: { path: { specimen_id: this.id }, query } }));
    return { items: asCells(page.items), total: page.total };
  }

  /** Fetches every cell; ids in the order given. */
  async #all(removed = false): Promise<number[]> {
    const first = await this.#page(0, removed);
    const rest: Promise<{ items: Cell[] }>[] = [];
    for (let offset = MOST_A_PAGE; offset < first.total; offset += MOST_A_PAGE) rest.push(this.#page(offset, removed));
    const cells = [first, ...(await Promise.all(rest))].flatMap((page) => page.items);
    this.#ledger.learn(cells);
    return [...new Set(cells.map((cell) => cell.id))];
  }

  /** The review order as of now; of all cells, or of those that somebody removed. */
  async order(removed: boolean): Promise<number[]> {
    if (removed) return this.#all(true);
    return reviewOrder(this.every().filter(counts), classes.other);
  }

  /** Cells of one field, removed ones and ones seen before among them. */
  async learnField(fieldId: number): Promise<number[]> {
    const detail = await ask(api.GET("/api/fields/{field_id}", { params: { path: { field_id: fieldId } } }));
    this.#ledger.learn(asCells(detail.cells));
    return detail.cells.map((cell) => cell.id);
  }

  #changed(ids: readonly number[]): void {
    for (const id of ids) {
      const cell = this.#ledger.cell(id);
      if (cell) this.cells.set(id, cell);
      else this.cells.delete(id);
    }
    this.tally = tally(this.#ledger.cells());
    this.#version += 1;
  }

  async #refused({ ids, conflict, problem }: Refusal): Promise<void> {
    if (!conflict || !ids.length) return complain(problem);
    // Somebody else was here: show their word, and say whose it is.
    const touched = new Set(ids.flatMap((id) => this.#ledger.cell(id)?.field_id ?? []));
    const before = new Map(ids.map((id) => [id, this.#ledger.cell(id)?.code]));
    try {
      await Promise.all([...touched].map((field) => this.learnField(field)));
      const differs = ids.filter((id) => this.#ledger.cell(id)?.code !== before.get(id));
      const [first] = differs;
      if (first === undefined) return complain(problem);
      const all = await ask(api.GET("/api/specimens/{specimen_id}/corrections", { params: { path: { specimen_id: this.id } } }));
      const by = all.filter((c: Correction) => c.cell_id === first && c.by !== session.me?.name).at(-1);
      const now = classes.title(this.#ledger.cell(first)?.code ?? "");
      if (!by) complain(problem);
      else say(`${by.by} named ${differs.length > 1 ? `${differs.length} of these cells` : "this cell"} meanwhile: ${now}. Yours was not kept.`, "warn", 10_000);
    } catch {
      complain(problem);
    }
  }

  #refreshSoon(): void {
    if (this.#closed) return;
    this.#stale = true;
    clearTimeout(this.#settling);
    this.#settling = window.setTimeout(() => void this.refresh(), 250);
  }

  /** The differential as the station has it now. */
  async refresh(): Promise<void> {
    this.#stale = false;
    try {
      const found = await ask(api.GET("/api/specimens/{specimen_id}/differential", { params: { path: { specimen_id: this.id } } }));
      // What was edited meanwhile makes this one old; a newer one is under way.
      if (!this.#stale && !this.#closed) this.differential = found;
    } catch (problem) {
      if (!this.#closed) complain(problem);
    }
  }

  /** One group of edits. */
  async edit(edits: Edit[]): Promise<Outcome> {
    if (!edits.length || !this.#may()) return { done: false, cells: [] };
    if (edits.length <= MOST_EDITS) return this.#ledger.edit(edits);
    let last: Outcome = { done: false, cells: [] };
    for (let from = 0; from < edits.length; from += MOST_EDITS) last = await this.#ledger.edit(edits.slice(from, from + MOST_EDITS));
    return last;
  }

  async undo(): Promise<void> {
    if (!this.#may()) return;
    const { done, cells } = await this.#ledger.undo();
    if (done && !cells.length) say("There is nothing of yours to take back.", "info", 1800);
    else if (done) say(cells.length === 1 ? "Taken back: 1 cell." : `Taken back: ${cells.length} cells.`, "info", 1800);
  }

  async accept(above: number): Promise<void> {
    if (!this.#may()) return;
    const { done, accepted } = await this.#ledger.accept(above);
    if (done) say(`${accepted} cells with a score of ${above.toFixed(2)} or more accepted. Backspace takes it back.`, "good");
  }

  /** How many cells accept-all would take now. */
  acceptable(above: number): number {
    void this.#version;
    return acceptable(this.#ledger.cells(), above);
  }

  #may(): boolean {
    if (this.writable) return true;
    if (this.detail) say(this.signed ? "The report of this case is signed. Amend it before you change cells." : "Your role does not change cells.", "warn");
    return false;
  }
}
