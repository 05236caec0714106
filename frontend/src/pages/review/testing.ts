/** Small helpers of the tests beside this file. */
import type { Cell } from "./cells";
import type { Stroke } from "./keys";

export const KEYS: Record<string, string> = {
  m: "MYELO",
  M: "EOS_MYELO",
  b: "BAND",
  s: "NEU_SEG",
  l: "LYM",
  u: "OTHER",
  "2": "MITOSIS",
  Numpad4: "BAND",
};

export function aCell(id: number, rest: Partial<Cell> = {}): Cell {
  const code = rest.code ?? "MYELO";
  const x = (id % 10) * 100;
  const y = Math.floor(id / 10) * 100;
  return {
    id,
    field_id: 1,
    box: [x, y, x + 60, y + 60],
    code,
    called: code,
    score: 0.7,
    doubt: 0.3,
    reviewed: false,
    removed: false,
    same_as: null,
    ...rest,
  };
}

/** A stroke as a US keyboard sends it: "KeyM", "Shift+KeyM", "Ctrl+KeyZ". */
export function stroke(text: string, rest: Partial<Stroke> = {}): Stroke {
  const parts = text.split("+");
  const code = parts.at(-1) ?? "";
  const shiftKey = parts.includes("Shift");
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(code)?.[1];
  const signs: Record<string, string> = { Space: " ", Semicolon: ";", Comma: ",", Period: ".", Slash: shiftKey ? "?" : "/" };
  const shifted = digit && shiftKey && code.startsWith("Digit") ? ")!@#$%^&*("[Number(digit)] : digit;
  const key = letter ? (shiftKey ? letter : letter.toLowerCase()) : (shifted ?? signs[code] ?? code);
  return {
    code,
    key,
    shiftKey,
    ctrlKey: parts.includes("Ctrl"),
    altKey: parts.includes("Alt"),
    metaKey: false,
    repeat: false,
    ...rest,
  };
}
