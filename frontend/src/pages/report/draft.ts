/** The draft of a report while it is written: what is chosen, and when it is saved. */

import type { components } from "$lib/api-schema";

export type ReportDraft = components["schemas"]["ReportDraft"];

export const LANGUAGES: readonly { value: ReportDraft["language"]; title: string }[] = [
  { value: "en", title: "English" },
  { value: "zh", title: "中文" },
  { value: "en+zh", title: "English + 中文" },
];

/** What a signature may say (21 CFR 11.50 asks for its meaning); anything else can be typed. */
export const MEANINGS = ["Reviewed and approved", "Author of this report", "Reviewed as second reader"] as const;

/** Puts an id in, or takes it out where it is in; the order of choosing stays. At most `most`. */
export function toggled(ids: readonly number[], id: number, most = Infinity): number[] {
  if (ids.includes(id)) return ids.filter((other) => other !== id);
  return ids.length < most ? [...ids, id] : [...ids];
}

/**
 * Saves what was written a moment after the last change, one save at a time, newest words last. `flush` saves now.
 * What cannot be saved stays unsaved and is told; the next change tries again.
 */
export class Saver<T> {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wanted: T | null = null;
  #running: Promise<void> | null = null;

  constructor(
    private readonly save: (value: T) => Promise<void>,
    private readonly tell: (state: "unsaved" | "saving" | "saved", problem?: unknown) => void,
    private readonly waitMs = 900,
  ) {}

  change(value: T): void {
    this.#wanted = value;
    this.tell("unsaved");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), this.waitMs);
  }

  get unsaved(): boolean {
    return this.#wanted !== null || this.#running !== null;
  }

  /** True where everything is saved. */
  async flush(): Promise<boolean> {
    clearTimeout(this.#timer);
    while (this.#running) await this.#running;
    const value = this.#wanted;
    if (value === null) return true;
    this.#wanted = null;
    let good = true;
    this.tell("saving");
    this.#running = this.save(value).catch((problem: unknown) => {
      good = false;
      this.#wanted ??= value;
      this.tell("unsaved", problem);
    });
    await this.#running;
    this.#running = null;
    if (!good) return false;
    if (this.#wanted === null) this.tell("saved");
    return this.#wanted === null ? true : this.flush();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
