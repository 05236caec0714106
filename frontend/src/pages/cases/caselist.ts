/** The list of cases: what is asked for, as the address has it, and how the keys walk through it. */

export const STATES = ["open", "amending", "signed"] as const;
export type State = (typeof STATES)[number];
export const STATE_TITLES: Record<State, string> = { open: "Open", amending: "Being amended", signed: "Signed" };
export const PAGE = 25;

export interface Wanted {
  text: string;
  state: State | "";
  /** From 0. */
  page: number;
}

export function fromQuery(query: URLSearchParams): Wanted {
  const state = query.get("state") ?? "";
  const page = Number(query.get("page") ?? "1") - 1;
  return {
    text: (query.get("text") ?? "").slice(0, 100),
    state: (STATES as readonly string[]).includes(state) ? (state as State) : "",
    page: Number.isInteger(page) && page > 0 ? page : 0,
  };
}

export function toHref({ text, state, page }: Wanted): string {
  const query = new URLSearchParams();
  if (text) query.set("text", text);
  if (state) query.set("state", state);
  if (page) query.set("page", String(page + 1));
  const search = query.toString();
  return search ? `/cases?${search}` : "/cases";
}

export const pagesOf = (total: number): number => Math.max(1, Math.ceil(total / PAGE));

/** Where a key takes the mark in a list of `rows` rows, or the page it turns to; null for another key. */
export function walk(key: string, at: number, rows: number, page: number, pages: number): { at: number; page: number } | null {
  switch (key) {
    case "ArrowDown":
      return at + 1 < rows ? { at: at + 1, page } : page + 1 < pages ? { at: 0, page: page + 1 } : { at, page };
    case "ArrowUp":
      return at > 0 ? { at: at - 1, page } : page > 0 ? { at: PAGE - 1, page: page - 1 } : { at: 0, page };
    case "PageDown":
      return page + 1 < pages ? { at: 0, page: page + 1 } : { at: Math.max(rows - 1, 0), page };
    case "PageUp":
      return page > 0 ? { at: 0, page: page - 1 } : { at: 0, page };
    default:
      return null;
  }
}

/** "23 Nov 2026": a day without doubt about which number is the month. */
export function day(iso: string | null): string {
  if (!iso) return "";
  return new Date(iso).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: iso.length === 10 ? "UTC" : undefined });
}

/** "23 Nov 2026, 10:32" in the time of this place. */
export function moment(iso: string): string {
  const at = new Date(iso);
  return `${day(iso)}, ${at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })}`;
}
