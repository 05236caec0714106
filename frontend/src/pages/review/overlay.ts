/**
 * Boxes on a field: how they lie on the screen, which one the pointer is on, and how they are drawn.
 *
 * A plain 2D canvas over OpenSeadragon: a hundred boxes take a fraction of a millisecond, need no graphics card, and
 * run under a content security policy without `unsafe-eval`.
 */

import type { Box, Cell } from "./cells";

/** Field pixels -> screen pixels: x * scale + dx, y * scale + dy. */
export interface Lie {
  scale: number;
  dx: number;
  dy: number;
}

export const toScreen = (box: Box, lie: Lie): Box => [
  box[0] * lie.scale + lie.dx,
  box[1] * lie.scale + lie.dy,
  box[2] * lie.scale + lie.dx,
  box[3] * lie.scale + lie.dy,
];

export const toField = (x: number, y: number, lie: Lie): [number, number] => [(x - lie.dx) / lie.scale, (y - lie.dy) / lie.scale];

/** The smallest box under a point of the field, so that a cell inside another can be had. */
export function under(cells: readonly Cell[], x: number, y: number): Cell | undefined {
  let found: Cell | undefined;
  let least = Infinity;
  for (const cell of cells) {
    const [x1, y1, x2, y2] = cell.box;
    const area = (x2 - x1) * (y2 - y1);
    if (x >= x1 && x <= x2 && y >= y1 && y <= y2 && area < least) [found, least] = [cell, area];
  }
  return found;
}

/** Which part of a box is gripped: a corner, an edge ("n", "sw", ...), its inside ("move"), or nothing. */
export type Grip = "n" | "s" | "e" | "w" | "ne" | "nw" | "se" | "sw" | "move";

/** `reach`: how far from an edge it can still be gripped, in the units of the box. */
export function gripAt(box: Box, x: number, y: number, reach: number): Grip | null {
  const [x1, y1, x2, y2] = box;
  if (x < x1 - reach || x > x2 + reach || y < y1 - reach || y > y2 + reach) return null;
  // In a small box a third of a side is left to move it by.
  const inside = Math.min(reach, (x2 - x1) / 3, (y2 - y1) / 3);
  const vertical = y < y1 + inside ? "n" : y > y2 - inside ? "s" : "";
  const horizontal = x < x1 + inside ? "w" : x > x2 - inside ? "e" : "";
  return (`${vertical}${horizontal}` || "move") as Grip;
}

/** A box after its grip was dragged by (dx, dy); it stays in the field and keeps at least `least` pixels a side. */
export function dragged(box: Box, grip: Grip, dx: number, dy: number, width: number, height: number, least = 8): Box {
  let [x1, y1, x2, y2] = box;
  if (grip === "move") {
    const mx = Math.min(Math.max(dx, -x1), width - x2);
    const my = Math.min(Math.max(dy, -y1), height - y2);
    return [x1 + mx, y1 + my, x2 + mx, y2 + my];
  }
  if (grip.includes("w")) x1 = Math.min(Math.max(x1 + dx, 0), x2 - least);
  if (grip.includes("e")) x2 = Math.max(Math.min(x2 + dx, width), x1 + least);
  if (grip.includes("n")) y1 = Math.min(Math.max(y1 + dy, 0), y2 - least);
  if (grip.includes("s")) y2 = Math.max(Math.min(y2 + dy, height), y1 + least);
  return [x1, y1, x2, y2];
}

/** The box between two points of the field, cut at its edges; null where it is smaller than `least` a side. */
export function drawnBox(ax: number, ay: number, bx: number, by: number, width: number, height: number, least = 8): Box | null {
  const clip = (v: number, to: number) => Math.min(Math.max(v, 0), to);
  const box: Box = [clip(Math.min(ax, bx), width), clip(Math.min(ay, by), height), clip(Math.max(ax, bx), width), clip(Math.max(ay, by), height)];
  return box[2] - box[0] >= least && box[3] - box[1] >= least ? box : null;
}

export interface Painted {
  box: Box;
  colour: string;
  ink: string;
  label: string;
  state: "open" | "reviewed" | "removed" | "elsewhere";
  held: boolean;
  hovered: boolean;
}

/** Draws boxes and names. `ratio`: device pixels a CSS pixel. */
export function paint(canvas: HTMLCanvasElement, boxes: readonly Painted[], lie: Lie, ratio: number, accent: string): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const width = canvas.width / ratio;
  const height = canvas.height / ratio;
  context.clearRect(0, 0, width, height);
  context.font = "600 11px system-ui, 'DejaVu Sans', sans-serif";
  context.textBaseline = "middle";
  // What is in hand lies on top.
  const sorted = [...boxes].sort((a, b) => Number(a.held) - Number(b.held) || Number(a.hovered) - Number(b.hovered));
  for (const painted of sorted) {
    const [x1, y1, x2, y2] = toScreen(painted.box, lie);
    if (x2 < 0 || y2 < 0 || x1 > width || y1 > height) continue;
    const faded = painted.state === "removed" || painted.state === "elsewhere";
    const thick = painted.held ? 3 : painted.hovered ? 2.5 : 2;
    context.globalAlpha = faded && !painted.held ? 0.6 : 1;
    context.setLineDash(faded ? [5, 4] : []);
    // A white line around the coloured one: it is seen on violet and on red alike.
    context.strokeStyle = "rgba(255, 255, 255, 0.9)";
    context.lineWidth = thick + 2;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.strokeStyle = painted.held ? accent : painted.colour;
    context.lineWidth = thick;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.setLineDash([]);
    if (painted.held) handles(context, [x1, y1, x2, y2], accent);
    plate(context, painted, x1, y1, width, painted.held ? accent : painted.colour, painted.held ? "#ffffff" : painted.ink);
    context.globalAlpha = 1;
  }
}

function handles(context: CanvasRenderingContext2D, [x1, y1, x2, y2]: Box, accent: string): void {
  context.fillStyle = "#ffffff";
  context.strokeStyle = accent;
  context.lineWidth = 1.5;
  for (const [x, y] of [[x1, y1], [x2, y1], [x1, y2], [x2, y2]] as const) {
    context.fillRect(x - 3.5, y - 3.5, 7, 7);
    context.strokeRect(x - 3.5, y - 3.5, 7, 7);
  }
}

function plate(context: CanvasRenderingContext2D, painted: Painted, x: number, y: number, edge: number, colour: string, ink: string): void {
  const text = `${painted.label}${painted.state === "reviewed" ? " ✓" : painted.state === "removed" ? " (no cell)" : painted.state === "elsewhere" ? " (seen before)" : ""}`;
  const wide = context.measureText(text).width + 8;
  const top = y >= 17 ? y - 16 : y + 1;
  // At the edges of the view a name moves inwards, so that it can be read.
  const left = Math.max(0, Math.min(x - 1, edge - wide));
  context.fillStyle = colour;
  context.fillRect(left, top, wide, 15);
  context.fillStyle = ink;
  context.fillText(text, left + 4, top + 8);
}
