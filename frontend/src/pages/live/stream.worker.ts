/**
 * Takes live pictures off the socket, decodes and draws them. Runs beside the page, so that neither waits for the other.
 *
 * Newest wins: one picture is decoded at a time, one more may wait, and a newer one takes its place. A picture is
 * acknowledged when it has come, so that the way to the station and back costs no time, and never more than one is on
 * its way.
 */
import { apply, type Matrix } from "$lib/homography";
import { Rate, Recent, StationClock } from "./clock";
import { decodePicture, type Drawable } from "./decode";
import { histogram, type Histogram } from "./histogram";
import { readMessage, type Header, type Message } from "./message";
import { drawOverlay, type Ink, type Look, type Project } from "./overlay";
import type { FromWorker, ToWorker } from "./talk";

const READOUT_MS = 200;
const HISTOGRAM_MS = 500;
const RETRY_MS = [300, 600, 1200, 2500, 5000];

type Surface = { canvas: OffscreenCanvas; context: OffscreenCanvasRenderingContext2D };

const post = (message: FromWorker): void => self.postMessage(message);
const unixNow = (): number => performance.timeOrigin + performance.now();

function surface(canvas: OffscreenCanvas, alpha: boolean): Surface {
  const context = canvas.getContext("2d", { alpha, desynchronized: false });
  if (!context) throw new Error("this browser cannot draw in the background");
  return { canvas, context };
}

class Painter {
  inks = new Map<string, Ink>();
  look: Look = { names: "full", boxes: true, font: 12, line: 2, ground: "glass" };
  homography: Matrix | null = null;
  #scale = 1;
  #ratio = 1;
  #last: { header: Header; bitmap: Drawable | null } | null = null;

  constructor(
    readonly picture: Surface | null,
    readonly overlay: Surface,
  ) {}

  /** width, height: in CSS pixels. */
  resize(width: number, height: number, ratio: number): void {
    this.#ratio = ratio;
    for (const part of [this.picture, this.overlay]) {
      if (!part) continue;
      part.canvas.width = Math.max(1, Math.round(width * ratio));
      part.canvas.height = Math.max(1, Math.round(height * ratio));
    }
    this.restyle({ ...this.look, scale: this.#scale });
  }

  restyle(look: { names: Look["names"]; boxes: boolean; scale: number }): void {
    this.#scale = look.scale;
    this.look = { ...this.look, names: look.names, boxes: look.boxes, font: 11.5 * this.#ratio * look.scale, line: 2 * this.#ratio * look.scale };
    this.again();
  }

  /** Draw what is there once more, after a change of size or look. */
  again(): void {
    if (this.#last) this.show(this.#last.header, this.#last.bitmap);
  }

  show(header: Header, bitmap: Drawable | null): void {
    if (this.picture && bitmap) {
      const { canvas, context } = this.picture;
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    }
    // Boxes of an old picture over the true image of the eyepiece would lie about the glass.
    const cells = header.stale && this.look.ground === "black" ? [] : header.overlay.cells;
    drawOverlay(this.overlay.context, cells, this.inks, this.#project(header), this.look);
    if (this.#last?.bitmap && this.#last.bitmap !== bitmap) this.#last.bitmap.close();
    this.#last = { header, bitmap };
  }

  #project(header: Header): Project {
    const { width, height } = this.overlay.canvas;
    const matrix = this.homography;
    if (matrix) {
      return (x, y) => {
        const [u, v] = apply(matrix, [x, y]);
        return [u * width, v * height];
      };
    }
    const sx = width / header.width;
    const sy = height / header.height;
    return (x, y) => [x * sx, y * sy];
  }
}

class Stream {
  #socket: WebSocket | null = null;
  #pending: Message | null = null;
  #busy = false;
  #closed = false;
  #failures = 0;
  #clock = new StationClock();
  #shown = new Rate();
  #ages = new Recent(150);
  #decode = new Recent(30);
  #draw = new Recent(30);
  #lastReadout = 0;
  #lastHistogram = 0;
  #histogram: Histogram | null = null;
  #small = new OffscreenCanvas(160, 90).getContext("2d", { willReadFrequently: true });

  constructor(
    readonly url: string,
    readonly painter: Painter,
  ) {
    this.#connect();
  }

  #connect(): void {
    if (this.#closed) return;
    post({ kind: "link", link: "connecting", reason: "" });
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => post({ kind: "link", link: "open", reason: "" });
    socket.onmessage = (event: MessageEvent<ArrayBuffer>) => this.#take(event.data);
    socket.onclose = (event) => {
      if (this.#socket !== socket || this.#closed) return;
      this.#pending = null;
      // Not signed in, or not from this page: asking again would not help.
      if (event.code === 4401 || event.code === 1008) return post({ kind: "link", link: "refused", reason: event.reason });
      post({ kind: "link", link: "lost", reason: event.reason });
      setTimeout(() => this.#connect(), RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]);
    };
    this.#socket = socket;
  }

  #take(data: ArrayBuffer): void {
    try {
      const message = readMessage(data);
      this.#failures = 0;
      this.#clock.note(message.header.captured_unix_ms + message.header.age_ms, unixNow());
      // Asked for at once: while this one is decoded the next is on its way. It may overtake one that still waits.
      if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(`ok ${message.header.number}`);
      this.#pending = message;
    } catch (problem) {
      post({ kind: "unreadable", reason: String(problem) });
      return;
    }
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#pending) {
      const { header, picture } = this.#pending;
      this.#pending = null;
      try {
        await this.#show(header, picture);
      } catch (problem) {
        post({ kind: "unreadable", reason: String(problem) });
      }
    }
    this.#busy = false;
  }

  async #show(header: Header, picture: Uint8Array<ArrayBuffer>): Promise<void> {
    const start = performance.now();
    const canvas = this.painter.picture?.canvas;
    const bitmap = canvas ? await decodePicture(picture, header.width, header.height, canvas.width) : null;
    const decoded = performance.now();
    this.painter.show(header, bitmap);
    const drawn = performance.now();
    this.#decode.add(decoded - start);
    this.#draw.add(drawn - decoded);
    this.#shown.add(drawn);
    // A stale picture is no measure of how fresh pictures are; the page says for itself that it is stale.
    if (!header.stale) this.#ages.add(this.#clock.age(header.captured_unix_ms, unixNow()));
    if (bitmap && drawn - this.#lastHistogram > HISTOGRAM_MS) this.#measure(bitmap, drawn);
    if (drawn - this.#lastReadout > READOUT_MS) this.#report(header, drawn);
  }

  #measure(bitmap: Drawable, now: number): void {
    if (!this.#small) return;
    this.#lastHistogram = now;
    // Smoothing would hide clipped pixels.
    this.#small.imageSmoothingEnabled = false;
    this.#small.drawImage(bitmap, 0, 0, 160, 90);
    this.#histogram = histogram(this.#small.getImageData(0, 0, 160, 90).data);
  }

  #report(header: Header, now: number): void {
    this.#lastReadout = now;
    const median = this.#ages.quantile(0.5);
    const p95 = this.#ages.quantile(0.95);
    post({
      kind: "readout",
      readout: {
        header,
        seen_unix_ms: header.captured_unix_ms + this.#clock.skew_ms,
        shown_fps: this.#shown.at(now),
        age_ms: median === null || p95 === null ? null : { median, p95 },
        decode_ms: this.#decode.mean ?? 0,
        draw_ms: this.#draw.mean ?? 0,
        histogram: this.#histogram,
      },
    });
  }

  close(): void {
    this.#closed = true;
    this.#socket?.close(1000);
    this.#socket = null;
  }
}

let stream: Stream | null = null;
let painter: Painter | null = null;

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "open") {
    painter = new Painter(data.picture && surface(data.picture, false), surface(data.overlay, true));
    painter.inks = new Map(data.inks);
    painter.look = { ...painter.look, ground: data.ground };
    stream = new Stream(data.url, painter);
  } else if (data.kind === "close") {
    stream?.close();
    self.close();
  } else if (data.kind === "size") painter?.resize(data.width, data.height, data.ratio);
  else if (data.kind === "look") painter?.restyle(data);
  else if (painter) {
    painter.homography = data.matrix as Matrix | null;
    painter.again();
  }
};
