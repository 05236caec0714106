import { describe, expect, test } from "vitest";
import { PAGE, PLACES, commandOf, isTyping, layoutKey, placeLabel, placeOf } from "./keys";
import { stroke } from "./testing";

describe("places", () => {
  test("a page has as many cells as there are place keys, and no key lies twice", () => {
    expect(PLACES).toHaveLength(PAGE);
    expect(new Set(PLACES).size).toBe(PAGE);
  });

  test("a place is where a key lies, whatever it writes", () => {
    expect(placeOf(stroke("KeyQ", { key: "a" }))).toBe(10);
    expect(placeOf(stroke("KeyQ", { key: "й" }))).toBe(10);
    expect(placeOf(stroke("KeyQ", { key: "Process" }))).toBe(10);
  });

  test("with Ctrl, Alt or Meta held a key is no place and no class", () => {
    for (const held of [{ ctrlKey: true }, { altKey: true }, { metaKey: true }]) {
      expect(placeOf(stroke("KeyM", held))).toBeNull();
      expect(layoutKey(stroke("KeyM", held))).toBeNull();
    }
  });

  test("every place shows what is printed on its key", () => {
    expect([0, 9, 10, 29, 39].map(placeLabel)).toEqual(["1", "0", "Q", ";", "/"]);
    expect(PLACES.map((_, i) => placeLabel(i)).every((label) => label.length === 1)).toBe(true);
  });
});

describe("class keys", () => {
  test("Caps Lock does not change a class; Shift does", () => {
    expect(layoutKey(stroke("KeyM", { key: "M" }))).toBe("m");
    expect(layoutKey(stroke("Shift+KeyM", { key: "m" }))).toBe("M");
  });

  test("a letter counts by what it writes, as on a French keyboard", () => {
    expect(layoutKey(stroke("KeyQ", { key: "a" }))).toBe("a");
  });

  test("with an input method on, a key counts by where it lies", () => {
    expect(layoutKey(stroke("KeyM", { key: "Process" }))).toBe("m");
    expect(layoutKey(stroke("Shift+KeyM", { key: "Process" }))).toBe("M");
    expect(layoutKey(stroke("Digit2", { key: "Unidentified" }))).toBe("2");
    expect(layoutKey(stroke("Shift+Digit2", { key: "Process" }))).toBeNull();
  });

  test("the number pad counts by its keys, also while Num Lock is off", () => {
    expect(layoutKey(stroke("Numpad4", { key: "ArrowLeft" }))).toBe("Numpad4");
    expect(layoutKey(stroke("NumpadEnter", { key: "Enter" }))).toBeNull();
  });

  test("a digit with Shift is no digit", () => {
    expect(layoutKey(stroke("Shift+Digit2"))).toBeNull();
  });
});

describe("commands", () => {
  test("a held key gives one command, save for arrows and pages", () => {
    for (const code of ["Enter", "Delete", "Backspace", "Equal", "Escape", "Backquote"]) {
      expect(commandOf(stroke(code))).not.toBeNull();
      expect(commandOf(stroke(code, { repeat: true }))).toBeNull();
    }
    for (const code of ["ArrowLeft", "PageDown"]) expect(commandOf(stroke(code, { repeat: true }))).not.toBeNull();
  });

  test("Tab is never taken", () => {
    expect(commandOf(stroke("Tab"))).toBeNull();
    expect(commandOf(stroke("Shift+Tab"))).toBeNull();
  });

  test("undo and all have their usual chords; other chords are the browser's", () => {
    expect(commandOf(stroke("Ctrl+KeyZ"))).toBe("undo");
    expect(commandOf(stroke("Ctrl+KeyA"))).toBe("all");
    expect(commandOf(stroke("Ctrl+KeyP"))).toBeNull();
    expect(commandOf(stroke("Ctrl+Enter"))).toBeNull();
  });

  test("the question mark asks for help, though it lies on a place", () => {
    expect(commandOf(stroke("Shift+Slash"))).toBe("help");
    expect(commandOf(stroke("Slash"))).toBeNull();
  });
});

test("keys belong to a text field while it has the focus, and not to a check box", () => {
  const element = (html: string) => {
    const box = document.createElement("div");
    box.innerHTML = html;
    return box.firstElementChild;
  };
  expect(isTyping(element("<textarea></textarea>"))).toBe(true);
  expect(isTyping(element("<input>"))).toBe(true);
  expect(isTyping(element("<input type=checkbox>"))).toBe(false);
  expect(isTyping(element("<button></button>"))).toBe(false);
  expect(isTyping(null)).toBe(false);
});
