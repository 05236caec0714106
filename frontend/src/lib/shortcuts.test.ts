import { afterEach, describe, expect, it, vi } from "vitest";
import { chord, shortcuts } from "./shortcuts.svelte";

const press = (key: string, more: KeyboardEventInit = {}, target: EventTarget = document.body) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  target.dispatchEvent(event);
  return event;
};
addEventListener("keydown", shortcuts.handle);
const undo: (() => void)[] = [];
afterEach(() => {
  undo.splice(0).forEach((f) => f());
  document.body.innerHTML = "";
});
const add = (title: string, keys: string | string[], more = {}) => {
  const run = vi.fn();
  undo.push(shortcuts.add({ title, shortcuts: [{ keys, run, ...more }] }));
  return run;
};

describe("chord", () => {
  it("names letters in lower case, and Shift where it tells two apart", () => {
    expect(chord(new KeyboardEvent("keydown", { key: "A", shiftKey: true }))).toBe("Shift+a");
    expect(chord(new KeyboardEvent("keydown", { key: "?", shiftKey: true }))).toBe("?");
    expect(chord(new KeyboardEvent("keydown", { key: " " }))).toBe("Space");
    expect(chord(new KeyboardEvent("keydown", { key: "ArrowLeft", shiftKey: true }))).toBe("Shift+ArrowLeft");
  });
  it("takes the Mac's command key for Ctrl", () => {
    expect(chord(new KeyboardEvent("keydown", { key: "z", metaKey: true }))).toBe("Ctrl+z");
  });
});

describe("shortcuts", () => {
  it("let the newest group win", () => {
    const shell = add("shell", "k");
    const page = add("page", ["x", "k"]);
    press("k");
    expect(page).toHaveBeenCalledOnce();
    expect(shell).not.toHaveBeenCalled();
  });
  it("leave keys to whoever types", () => {
    const run = add("page", "k");
    document.body.innerHTML = "<input><textarea></textarea><select></select>";
    for (const element of document.body.children) press("k", {}, element);
    expect(run).not.toHaveBeenCalled();
  });
  it("leave Space and Enter to a button that has the focus, and no other key", () => {
    const space = add("page", "Space");
    const letter = add("page", "k");
    document.body.innerHTML = "<button></button>";
    const button = document.body.firstElementChild!;
    expect(press(" ", {}, button).defaultPrevented).toBe(false);
    press("k", {}, button);
    expect(space).not.toHaveBeenCalled();
    expect(letter).toHaveBeenCalledOnce();
  });
  it("run once while a key is held, unless they may repeat", () => {
    const once = add("page", "k");
    const often = add("page", "ArrowLeft", { repeat: true });
    for (const repeat of [false, true, true]) {
      press("k", { repeat });
      press("ArrowLeft", { repeat });
    }
    expect(once).toHaveBeenCalledTimes(1);
    expect(often).toHaveBeenCalledTimes(3);
  });
  it("are gone with their page", () => {
    const run = add("page", "k");
    undo.pop()!();
    press("k");
    expect(run).not.toHaveBeenCalled();
  });
});
