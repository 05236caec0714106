/** Which rows of a long gallery are drawn: those in sight and a few around them, so that 5000 cells cost as 100. */

export interface Window {
  /** First row drawn, and the row after the last. */
  from: number;
  to: number;
  /** Height of all rows, and how far down the first drawn one lies. */
  height: number;
  top: number;
}

/** Rows drawn for a view of `viewport` pixels scrolled down by `scroll`; `around` more above and below. */
export function rowsInSight(rows: number, rowHeight: number, scroll: number, viewport: number, around = 4): Window {
  const first = Math.floor(Math.max(scroll, 0) / rowHeight);
  const last = Math.ceil((Math.max(scroll, 0) + viewport) / rowHeight);
  const from = Math.min(Math.max(first - around, 0), rows);
  const to = Math.max(Math.min(last + around, rows), from);
  return { from, to, height: rows * rowHeight, top: from * rowHeight };
}

/** The page whose rows fill most of the view. */
export function pageInSight(scroll: number, rowHeight: number, rowsPerPage: number, pages: number): number {
  const page = Math.round(scroll / (rowHeight * rowsPerPage));
  return Math.min(Math.max(page, 0), Math.max(pages - 1, 0));
}
