/**
 * What a key says on the review page.
 *
 * Forty keys lie under the hands as forty crops lie on a gallery page, row by row: a *place key* means the crop that
 * lies where the key does, whatever is printed on it (`event.code`). A *class key* means a class of the reader's
 * layout, by what it writes (`event.key`), because a layout is learnt by letters. All other keys are commands.
 */

export const COLUMNS = 10;
export const ROWS = 4;
export const PAGE = COLUMNS * ROWS;

const ROWS_OF_KEYS = [
  "Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0",
  "KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP",
  "KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon",
  "KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash",
];

/** The key codes of the places, row by row. */
export const PLACES: readonly string[] = ROWS_OF_KEYS.flatMap((row) => row.split(" "));

const PLACE_INDEX = new Map(PLACES.map((code, index) => [code, index]));
const PRINTED: Record<string, string> = { Semicolon: ";", Comma: ",", Period: ".", Slash: "/" };

/** What is printed on a place key, for the corner of a crop. */
export function placeLabel(index: number): string {
  const code = PLACES[index] ?? "";
  return PRINTED[code] ?? code.replace(/^(Key|Digit)/, "");
}

/** As much of a KeyboardEvent as matters here. */
export interface Stroke {
  code: string;
  key: string;
  shiftKey: boolean;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
  repeat: boolean;
}

export type Command =
  | "confirm"
  | "next-doubtful"
  | "accept"
  | "threshold-down"
  | "threshold-up"
  | "remove"
  | "undo"
  | "page-down"
  | "page-up"
  | "home"
  | "end"
  | "escape"
  | "help"
  | "mark"
  | "all"
  | "add"
  | "left"
  | "right"
  | "up"
  | "down";

const COMMANDS: Record<string, Command> = {
  Enter: "confirm",
  NumpadEnter: "confirm",
  Backquote: "next-doubtful",
  Equal: "accept",
  BracketLeft: "threshold-down",
  BracketRight: "threshold-up",
  Delete: "remove",
  Backspace: "undo",
  PageDown: "page-down",
  PageUp: "page-up",
  Home: "home",
  End: "end",
  Escape: "escape",
  F1: "help",
  Space: "mark",
  Insert: "add",
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};

const MAY_REPEAT = new Set<Command>(["left", "right", "up", "down", "page-down", "page-up"]);

/** The place (0..39) of a stroke, or null. */
export function placeOf(stroke: Stroke): number | null {
  if (stroke.ctrlKey || stroke.altKey || stroke.metaKey) return null;
  return PLACE_INDEX.get(stroke.code) ?? null;
}

/** The name by which a layout knows this stroke (`m`, `M`, `7`, `Numpad4`), or null. */
export function layoutKey(stroke: Stroke): string | null {
  if (stroke.ctrlKey || stroke.altKey || stroke.metaKey) return null;
  if (stroke.code.startsWith("Numpad")) return stroke.code === "NumpadEnter" ? null : stroke.code;
  let written = stroke.key;
  // An input method, or letters of another script: the key is known by where it lies alone.
  if (!/^[ -~]$/.test(written)) {
    const lies = /^(?:Key([A-Z])|Digit([0-9]))$/.exec(stroke.code);
    if (!lies || (lies[2] !== undefined && stroke.shiftKey)) return null;
    written = lies[1] ?? lies[2] ?? "";
  }
  if (/^[0-9]$/.test(written)) return written;
  if (!/^[a-zA-Z]$/.test(written)) return null;
  return stroke.shiftKey ? written.toUpperCase() : written.toLowerCase();
}

/** The command of a stroke, or null. A held key gives one command, save for arrows and pages. */
export function commandOf(stroke: Stroke): Command | null {
  if (stroke.altKey || stroke.metaKey) return null;
  if (stroke.ctrlKey) {
    if (stroke.repeat) return null;
    if (stroke.code === "KeyZ" && !stroke.shiftKey) return "undo";
    return stroke.code === "KeyA" ? "all" : null;
  }
  if (stroke.key === "?") return stroke.repeat ? null : "help";
  const command = COMMANDS[stroke.code] ?? null;
  return command && stroke.repeat && !MAY_REPEAT.has(command) ? null : command;
}

/** Whether keys belong to what is being written here, and not to the review. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  const silent = ["checkbox", "radio", "button", "range", "submit", "reset", "file"];
  return target instanceof HTMLInputElement && !silent.includes(target.type);
}
