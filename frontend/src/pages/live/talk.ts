/** What the page and its worker say to each other. The worker owns the socket and the canvases. */
import type { Header } from "./message";
import type { Histogram } from "./histogram";
import type { Ground, Ink, Names } from "./overlay";

export type ToWorker =
  | {
      kind: "open";
      url: string;
      /** Where the picture goes; null: nothing but boxes is wanted (the eyepiece). */
      picture: OffscreenCanvas | null;
      overlay: OffscreenCanvas;
      inks: [string, Ink][];
      ground: Ground;
    }
  | { kind: "size"; width: number; height: number; ratio: number }
  | { kind: "look"; names: Names; boxes: boolean; scale: number }
  /** 3 x 3, row by row, frame -> canvas as shares of its size; null: the picture fills the canvas. */
  | { kind: "homography"; matrix: number[] | null }
  | { kind: "close" };

export type Link = "connecting" | "open" | "lost" | "refused";

/** How things stand, a few times a second. All but the picture itself. */
export interface Readout {
  header: Header;
  /** When the exposure of the picture ended, in unix ms of THIS machine's clock. */
  seen_unix_ms: number;
  /** Pictures drawn per second, and the age of a picture when it is drawn. */
  shown_fps: number;
  age_ms: { median: number; p95: number } | null;
  /** Of the page's own part: milliseconds to decode, to draw. */
  decode_ms: number;
  draw_ms: number;
  histogram: Histogram | null;
}

export type FromWorker =
  | { kind: "link"; link: Link; reason: string }
  | { kind: "readout"; readout: Readout }
  /** A picture could not be read; the next one may be. */
  | { kind: "unreadable"; reason: string };
