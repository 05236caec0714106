/** Keyboard shortcuts: each says what it does, and `?` lists those in force. */
import { onMount } from "svelte";

export interface Shortcut {
  /** As `event.key` has it, with "Shift+", "Ctrl+" (also Cmd) or "Alt+" before it; several that do the same.
   *  A letter is written in lower case; "Shift+a" is A. Signs that need Shift ("?") are written bare. */
  keys: string | string[];
  /** What it does, in the imperative: "Keep this field". Left out: not listed in the help. */
  does?: string;
  run: (event: KeyboardEvent) => void;
  /** Also while the key is held down (default: first press alone). */
  repeat?: boolean;
}

export interface Group {
  title: string;
  shortcuts: Shortcut[];
}

/** How a pressed key is written in `Shortcut.keys`. */
export function chord(event: Pick<KeyboardEvent, "key" | "shiftKey" | "ctrlKey" | "metaKey" | "altKey">): string {
  const letter = event.key.length === 1;
  const cased = letter && event.key.toLowerCase() !== event.key.toUpperCase();
  const key = event.key === " " ? "Space" : cased ? event.key.toLowerCase() : event.key;
  // Shift is part of a sign such as "?": it is named only where it tells two chords apart.
  const shift = event.shiftKey && (!letter || cased || event.key === " ") ? "Shift+" : "";
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift}${key}`;
}

const TYPING = "input:not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select, [contenteditable=true]";

/** Whether a key belongs to the element that has the focus, rather than to the page. */
export function belongsToElement(event: KeyboardEvent): boolean {
  const target = event.target;
  if (!(target instanceof Element)) return false;
  if (target.closest("dialog[open]") && event.key !== "?") return true;
  if (target.closest(TYPING)) return true;
  const presses = event.key === " " || event.key === "Enter";
  return presses && target.closest("button, a[href], summary, [role=button], [role=tab], input") !== null;
}

class Shortcuts {
  groups = $state.raw<Group[]>([]);
  helpOpen = $state(false);

  add(group: Group): () => void {
    this.groups = [...this.groups, group];
    return () => (this.groups = this.groups.filter((g) => g !== group));
  }

  /** The newest group is asked first: a page may override the shell. */
  handle = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.isComposing || belongsToElement(event)) return;
    const pressed = chord(event);
    for (const group of [...this.groups].reverse()) {
      for (const shortcut of group.shortcuts) {
        const keys = Array.isArray(shortcut.keys) ? shortcut.keys : [shortcut.keys];
        if (!keys.includes(pressed)) continue;
        event.preventDefault();
        if (!event.repeat || shortcut.repeat) shortcut.run(event);
        return;
      }
    }
  };
}

export const shortcuts = new Shortcuts();

/** Put shortcuts in force while the component that calls this is shown. */
export function useShortcuts(title: string, list: Shortcut[]): void {
  onMount(() => shortcuts.add({ title, shortcuts: list }));
}
