/**
 * The hand on the canvas: what every key does while one field is looked at, as one pure function.
 *
 * There are no places here: letters name the box in hand, and with an empty hand they do nothing.
 */

import { open, type Box, type Cell, type Edit } from "./cells";
import { confirming, removing, renaming } from "./flow";
import { commandOf, layoutKey, type Stroke } from "./keys";

export interface Canvas {
  /** The box in hand. */
  held: number | null;
  /** A box that was drawn and has no name yet; it is in hand. */
  drawn: Box | null;
  /** The pen is on: a drag draws a box. */
  pen: boolean;
}

export type CanvasWish =
  | { kind: "edits"; edits: Edit[] }
  | { kind: "undo" }
  | { kind: "field"; by: number }
  /** Zoom by a factor, show the whole field, or the box in hand large (and back). */
  | { kind: "zoom"; by: number | "field" | "box" }
  | { kind: "leave" }
  | { kind: "help" };

export interface CanvasStep {
  canvas: Canvas;
  wishes: CanvasWish[];
  taken: boolean;
}

export interface Sight {
  field: number;
  /** Cells of the field that are shown. */
  cells: readonly Cell[];
  keys: Readonly<Record<string, string>>;
}

export const freshCanvas = (): Canvas => ({ held: null, drawn: null, pen: false });

const middle = (box: Box): [number, number] => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

export type Direction = "left" | "right" | "up" | "down";

/** The nearest box that lies in this direction; from no box, the one nearest to where reading begins. */
export function nearest(cells: readonly Cell[], from: Cell | undefined, direction: Direction): Cell | undefined {
  const horizontal = direction === "left" || direction === "right";
  const sign = direction === "left" || direction === "up" ? -1 : 1;
  const [x0, y0] = from ? middle(from.box) : [0, 0];
  let best: Cell | undefined;
  let least = Infinity;
  for (const cell of cells) {
    if (cell.id === from?.id) continue;
    const [x, y] = middle(cell.box);
    if (!from) {
      if (x + y < least) [best, least] = [cell, x + y];
      continue;
    }
    const along = sign * (horizontal ? x - x0 : y - y0);
    const aside = Math.abs(horizontal ? y - y0 : x - x0);
    // What lies more aside than ahead belongs to the other arrows, unless there is nothing else.
    if (along <= 0) continue;
    const far = Math.hypot(along, aside) * (aside > along ? 3 : 1);
    if (far < least) [best, least] = [cell, far];
  }
  return best;
}

/** The most doubtful box of the field that nobody has looked at; those in `done` count as looked at. */
export function doubtful(cells: readonly Cell[], done: number | null = null): Cell | undefined {
  let best: Cell | undefined;
  for (const cell of cells) if (open(cell) && cell.id !== done && (!best || cell.doubt > best.doubt)) best = cell;
  return best;
}

const asEdits = (edits: Edit[]): CanvasWish[] => (edits.length ? [{ kind: "edits", edits }] : []);
const ARROWS: Record<string, Direction> = { left: "left", right: "right", up: "up", down: "down" };

/** One key of the canvas. Moving boxes (Alt+arrows) goes by `nudge`. */
export function pressOnCanvas(canvas: Canvas, stroke: Stroke, sight: Sight): CanvasStep {
  const find = (id: number | null): Cell | undefined => (id === null ? undefined : sight.cells.find((c) => c.id === id));
  const world = { keys: sight.keys, cell: (id: number) => find(id) };
  const only = (changed: Canvas, ...wishes: CanvasWish[]): CanvasStep => ({ canvas: changed, wishes, taken: true });
  const empty: Canvas = { ...canvas, held: null, drawn: null };
  const held = canvas.held === null ? [] : [canvas.held];

  const command = commandOf(stroke);
  const direction = command ? ARROWS[command] : undefined;
  if (direction) {
    const next = nearest(sight.cells, find(canvas.held), direction);
    return only(next ? { ...empty, held: next.id } : canvas);
  }
  switch (command) {
    case "confirm": {
      if (canvas.drawn) return only(canvas);
      if (canvas.held === null) {
        const all = confirming(sight.cells.map((cell) => cell.id), world);
        return only(empty, ...asEdits(all), { kind: "field", by: 1 });
      }
      const next = doubtful(sight.cells, canvas.held);
      return only({ ...empty, held: next?.id ?? null }, ...asEdits(confirming(held, world)));
    }
    case "next-doubtful": {
      const next = doubtful(sight.cells, canvas.held) ?? doubtful(sight.cells);
      return only({ ...empty, held: next?.id ?? null });
    }
    case "accept":
      return only(canvas, { kind: "zoom", by: 1.4 });
    case "add":
      return only({ ...empty, pen: !canvas.pen });
    case "remove":
      if (canvas.drawn) return only(empty);
      return only(empty, ...asEdits(removing(held, world)));
    case "undo":
      return canvas.drawn ? only(empty) : only(canvas, { kind: "undo" });
    case "page-down":
      return only(empty, { kind: "field", by: 1 });
    case "page-up":
      return only(empty, { kind: "field", by: -1 });
    case "home":
      return only(canvas, { kind: "zoom", by: "field" });
    case "mark":
      return only(canvas, { kind: "zoom", by: "box" });
    case "escape":
      if (canvas.drawn || canvas.held !== null) return only(empty);
      return canvas.pen ? only({ ...canvas, pen: false }) : only(canvas, { kind: "leave" });
    case "help":
      return only(canvas, { kind: "help" });
    default:
  }
  if (stroke.code === "Minus") return only(canvas, { kind: "zoom", by: 1 / 1.4 });
  const key = layoutKey(stroke);
  const code = key === null ? undefined : sight.keys[key];
  if (key === null) return { canvas, wishes: [], taken: false };
  if (code === undefined || stroke.repeat) return { canvas, wishes: [], taken: true };
  if (canvas.drawn) {
    return only(empty, { kind: "edits", edits: [{ kind: "add", field_id: sight.field, code, box: canvas.drawn }] });
  }
  return canvas.held === null ? only(canvas) : only(empty, ...asEdits(renaming(held, code, world)));
}

/** Where Alt+arrows put a box: moved by a pixel, or with Shift its lower right corner alone. Null for another key. */
export function nudge(box: Box, stroke: Stroke, width: number, height: number): Box | null {
  if (!stroke.altKey || stroke.ctrlKey || stroke.metaKey) return null;
  const step: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  const by = step[stroke.code];
  if (!by) return null;
  const [dx, dy] = by;
  const [x1, y1, x2, y2] = box;
  if (stroke.shiftKey) {
    return [x1, y1, Math.min(Math.max(x2 + dx, x1 + 2), width), Math.min(Math.max(y2 + dy, y1 + 2), height)];
  }
  const mx = Math.min(Math.max(dx, -x1), width - x2);
  const my = Math.min(Math.max(dy, -y1), height - y2);
  return [x1 + mx, y1 + my, x2 + mx, y2 + my];
}
