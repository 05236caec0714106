/** Boxes and names over the picture. Pure drawing: the same for the live page and for the eyepiece. */
import type { OverlayCell } from "./message";

export type Names = "full" | "short" | "none";
/** On bright glass a white edge lifts boxes off the stain, and names stand on plates; on black, light alone is drawn. */
export type Ground = "glass" | "black";

export interface Ink {
  name: string;
  short: string;
  /** Of the box and of the plate behind its name. */
  colour: string;
  /** Of the name on that plate. */
  text: string;
}

/** One sure enough of its name; below it the box is dashed. */
export const SURE = 0.6;

export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

const overlaps = (a: Rect, b: Rect): boolean => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

/**
 * Where the name of each box goes: above it, below it, or inside, whichever is free of other names and on the picture;
 * above where none is. boxes and the result: in one coordinate plane; sizes: of the plates.
 */
export function placeNames(boxes: Rect[], sizes: { w: number; h: number }[], width: number, height: number): Rect[] {
  const taken: Rect[] = [];
  return boxes.map((box, i) => {
    const size = sizes[i] ?? { w: 0, h: 0 };
    const left = Math.min(Math.max(box.x, 0), Math.max(width - size.w, 0));
    const right = Math.min(Math.max(box.x + box.w - size.w, 0), Math.max(width - size.w, 0));
    const choices: Rect[] = [];
    for (const y of [box.y - size.h, box.y + box.h, box.y, box.y + box.h - size.h]) {
      for (const x of [left, right]) choices.push({ x, y, ...size });
    }
    const inside = choices.filter((c) => c.y >= 0 && c.y + c.h <= height);
    const best = inside.find((c) => !taken.some((t) => overlaps(t, c))) ?? inside[0] ?? choices[0]!;
    taken.push(best);
    return best;
  });
}

export interface Look {
  names: Names;
  boxes: boolean;
  /** Size of names in pixels of the canvas. */
  font: number;
  line: number;
  ground: Ground;
}

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;
export type Project = (x: number, y: number) => readonly [number, number];

const widths = new Map<string, number>();

/** Width of a name, measured once a font. */
function widthOf(context: Context, text: string): number {
  const key = `${context.font}|${text}`;
  let width = widths.get(key);
  if (width === undefined) {
    width = context.measureText(text).width;
    if (widths.size > 2000) widths.clear();
    widths.set(key, width);
  }
  return width;
}

/** Draw every cell. project: from pixels of the frame to pixels of the canvas; need not keep right angles. */
export function drawOverlay(
  context: Context,
  cells: readonly OverlayCell[],
  inks: ReadonlyMap<string, Ink>,
  project: Project,
  look: Look,
): void {
  const { width, height } = context.canvas;
  context.clearRect(0, 0, width, height);
  if (!look.boxes || !cells.length) return;
  context.lineJoin = "round";
  const rects: Rect[] = [];
  for (const cell of cells) {
    const corners = [project(cell.x1, cell.y1), project(cell.x2, cell.y1), project(cell.x2, cell.y2), project(cell.x1, cell.y2)] as const;
    const xs = corners.map((c) => c[0]);
    const ys = corners.map((c) => c[1]);
    const x = Math.min(...xs);
    const y = Math.min(...ys);
    rects.push({ x, y, w: Math.max(...xs) - x, h: Math.max(...ys) - y });
    context.beginPath();
    for (const [i, [px, py]] of corners.entries()) i ? context.lineTo(px, py) : context.moveTo(px, py);
    context.closePath();
    context.setLineDash(cell.score < SURE ? [look.line * 3, look.line * 2.2] : []);
    if (look.ground === "glass") {
      context.strokeStyle = "rgb(255 255 255 / 0.75)";
      context.lineWidth = look.line + 2;
      context.stroke();
    }
    context.strokeStyle = inks.get(cell.code)?.colour ?? "#000000";
    context.lineWidth = cell.counted ? look.line : look.line / 2;
    context.stroke();
  }
  context.setLineDash([]);
  if (look.names === "none") return;
  context.font = `600 ${look.font}px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif`;
  context.textBaseline = "middle";
  const texts = cells.map((cell) => {
    const ink = inks.get(cell.code);
    const name = (look.names === "full" ? ink?.name : ink?.short) ?? cell.code;
    return cell.score < SURE ? `${name} ?` : name;
  });
  const pad = look.font * 0.35;
  const sizes = texts.map((text) => ({ w: widthOf(context, text) + 2 * pad, h: look.font * 1.35 }));
  for (const [i, place] of placeNames(rects, sizes, width, height).entries()) {
    const ink = inks.get(cells[i]!.code);
    if (look.ground === "glass") {
      context.globalAlpha = cells[i]!.counted ? 0.94 : 0.7;
      context.fillStyle = ink?.colour ?? "#000000";
      context.fillRect(place.x, place.y, place.w, place.h);
      context.globalAlpha = 1;
      context.fillStyle = ink?.text ?? "#ffffff";
    } else context.fillStyle = ink?.colour ?? "#ffffff";
    context.fillText(texts[i]!, place.x + pad, place.y + place.h / 2);
  }
}
