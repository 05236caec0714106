/** The messages of `WS /api/live/stream`: [uint32 big-endian n][n bytes of JSON][JPEG]. */

export interface OverlayCell {
  /** The same while a cell is followed from frame to frame. */
  id: number;
  x1: number;
  y1: number;
  x2: number;
  y2: number;
  code: string;
  score: number;
  /** Whether its class enters the differential. */
  counted: boolean;
}

/** What stands before each picture (the station's `StreamHeader`). Boxes are pixels of this very frame. */
export interface Header {
  number: number;
  captured_unix_ms: number;
  age_ms: number;
  width: number;
  height: number;
  stale: boolean;
  stale_s: number;
  fps: number;
  focus: number | null;
  clipped: number;
  timings_ms: Record<string, number>;
  position: { x_um: number; y_um: number } | null;
  visit: string | null;
  overlay: { frame: number; age_ms: number; cells: OverlayCell[] };
  unique: Record<string, number>;
  kept: number;
}

export interface Message {
  header: Header;
  /** The JPEG; a view into the message, no copy. */
  picture: Uint8Array<ArrayBuffer>;
}

const utf8 = new TextDecoder();

/** Take a message apart. RangeError where its length does not fit what it says of itself. */
export function readMessage(data: ArrayBuffer): Message {
  if (data.byteLength < 4) throw new RangeError(`a message of ${data.byteLength} bytes has no header`);
  const length = new DataView(data).getUint32(0);
  if (4 + length > data.byteLength) {
    throw new RangeError(`the header says ${length} bytes, the message has ${data.byteLength - 4}`);
  }
  const header = JSON.parse(utf8.decode(new Uint8Array(data, 4, length))) as Header;
  return { header, picture: new Uint8Array(data, 4 + length) };
}
