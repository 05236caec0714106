/** A blind reading: the reader's own names, sent as they are given; the model's call and others' names stay hidden. */

import { api, ask } from "$lib/api";
import { complain } from "$lib/toasts.svelte";
import { SvelteMap } from "svelte/reactivity";
import type { Cell, Edit } from "./cells";

export class BlindReading {
  readonly names = new SvelteMap<number, string>();
  loaded = $state(false);
  /** What was named in one step, newest last, with the names before. */
  #past: { id: number; before: string | undefined }[][] = [];
  #unsent = new Map<number, string>();
  #sending = false;

  constructor(private readonly specimenId: number) {}

  get #path() {
    return { specimen_id: this.specimenId };
  }

  async open(): Promise<void> {
    if (this.loaded) return;
    const mine = await ask(api.GET("/api/specimens/{specimen_id}/readings", { params: { path: this.#path } }));
    for (const reading of mine) this.names.set(reading.cell_id, reading.code);
    this.loaded = true;
  }

  /** The cell without what anybody else said of it. */
  mask(cell: Cell | undefined): Cell | undefined {
    if (!cell) return undefined;
    const code = this.names.get(cell.id);
    return { ...cell, code: code ?? "", called: null, score: null, doubt: 0, reviewed: code !== undefined };
  }

  /** The names among these edits. What confirms, removes or moves has no place in a blind reading. */
  take(edits: readonly Edit[]): void {
    const step: { id: number; before: string | undefined }[] = [];
    for (const { kind, cell_id: id, code } of edits) {
      if (kind !== "rename" || id === undefined || !code) continue;
      step.push({ id, before: this.names.get(id) });
      this.names.set(id, code);
      this.#unsent.set(id, code);
    }
    if (step.length) this.#past.push(step);
    void this.#send();
  }

  /** Takes back the newest step, as far as there was a name before it; ids that have none now. */
  undo(): number[] {
    const step = this.#past.pop() ?? [];
    const nameless: number[] = [];
    for (const { id, before } of step) {
      if (before === undefined) nameless.push(id);
      else {
        this.names.set(id, before);
        this.#unsent.set(id, before);
      }
    }
    void this.#send();
    return nameless;
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#unsent.size) {
      const readings = [...this.#unsent].map(([cell_id, code]) => ({ cell_id, code }));
      this.#unsent.clear();
      try {
        await ask(api.POST("/api/specimens/{specimen_id}/readings", { params: { path: this.#path }, body: { readings } }));
      } catch (problem) {
        complain(problem);
        // A name given later for the same cell stands.
        for (const { cell_id, code } of readings) if (!this.#unsent.has(cell_id)) this.#unsent.set(cell_id, code);
        break;
      }
    }
    this.#sending = false;
  }
}
