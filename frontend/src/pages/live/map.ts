/** The slide as it was seen: which window of it is shown, and how it is drawn. Places are micrometres. */
import type { SlideMap } from "$lib/types";

export interface Window {
  x: number;
  y: number;
  /** Pixels per micrometre. */
  scale: number;
}

interface Patch {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** The window that holds all patches with a margin, and never less than a few fields around `here`. */
export function windowOf(map: Pick<SlideMap, "visited" | "fields" | "here">, width: number, height: number): Window {
  const patches: Patch[] = [...map.visited, ...map.fields];
  if (map.here) {
    const { x, y, w, h } = map.here;
    // At first there is one field alone: three by three of them keep it from filling the map.
    patches.push({ x: x - w, y: y - h, w: 3 * w, h: 3 * h });
  }
  if (!patches.length) return { x: 0, y: 0, scale: 1 };
  const left = Math.min(...patches.map((p) => p.x));
  const top = Math.min(...patches.map((p) => p.y));
  const right = Math.max(...patches.map((p) => p.x + p.w));
  const bottom = Math.max(...patches.map((p) => p.y + p.h));
  const scale = Math.min(width / Math.max(right - left, 1), height / Math.max(bottom - top, 1)) * 0.94;
  return { x: (left + right) / 2 - width / scale / 2, y: (top + bottom) / 2 - height / scale / 2, scale };
}

/** A round length whose bar takes no more than `most` pixels: 1, 2 or 5 times a power of ten, in micrometres. */
export function roundLength(scale: number, most: number): number {
  const longest = most / scale;
  const power = 10 ** Math.floor(Math.log10(longest));
  return power * (longest / power >= 5 ? 5 : longest / power >= 2 ? 2 : 1);
}

export const lengthText = (um: number): string => (um >= 1000 ? `${um / 1000} mm` : `${um} µm`);

export interface MapColours {
  visited: string;
  field: string;
  here: string;
  text: string;
  of: (code: string) => string;
}

export function drawMap(context: CanvasRenderingContext2D, map: SlideMap, view: Window, ratio: number, colours: MapColours): void {
  const { width, height } = context.canvas;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  const s = view.scale * ratio;
  const rect = (p: Patch): [number, number, number, number] => [(p.x - view.x) * s, (p.y - view.y) * s, p.w * s, p.h * s];
  context.fillStyle = colours.visited;
  for (const patch of map.visited) {
    const [x, y, w, h] = rect(patch);
    // A pixel over the edge, so that neighbours leave no seam.
    context.fillRect(x, y, w + 1, h + 1);
  }
  const dot = Math.min(Math.max(5 * s, 1.2 * ratio), 3 * ratio);
  for (const cell of map.cells) {
    context.fillStyle = colours.of(cell.code);
    context.fillRect((cell.x - view.x) * s - dot / 2, (cell.y - view.y) * s - dot / 2, dot, dot);
  }
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = colours.field;
  context.font = `${10 * ratio}px system-ui, sans-serif`;
  context.textBaseline = "top";
  for (const field of map.fields) {
    const [x, y, w, h] = rect(field);
    context.strokeRect(x, y, w, h);
    if (w > 14 * ratio) {
      context.fillStyle = colours.text;
      context.fillText(String(field.number), x + 2 * ratio, y + 2 * ratio);
    }
  }
  if (map.here) {
    context.strokeStyle = colours.here;
    context.lineWidth = 2.5 * ratio;
    context.strokeRect(...rect(map.here));
  }
}
