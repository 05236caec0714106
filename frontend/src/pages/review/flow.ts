/**
 * The hand: what every key does in the gallery, as one pure function.
 *
 * The hand holds the cells that the next name goes to. With an empty hand a place key takes a cell; with something in
 * hand a class key names all of it and empties the hand. So a wrong cell costs two keys (its place, its class), and a
 * page of right ones costs Enter. The order of the cells stands still while all this happens.
 */

import { counts, open, type Cell, type Edit } from "./cells";
import { COLUMNS, PAGE, commandOf, layoutKey, placeOf, type Command, type Stroke } from "./keys";

export interface Hand {
  /** Ids of the cells in review order; a snapshot, taken when the gallery opens or a filter changes. */
  order: readonly number[];
  /** Index into `order`; the page shown is the one it lies on. */
  cursor: number;
  held: ReadonlySet<number>;
  /** Arrows move the cursor without emptying the hand. */
  pinned: boolean;
  /** After each name the next doubtful cell comes into the hand by itself. */
  queue: boolean;
  /** Accept-all takes cells at or above this score. */
  threshold: number;
}

/** What the hand asks of the archive or the page. */
export type Wish =
  | { kind: "edits"; edits: Edit[] }
  | { kind: "accept"; above: number }
  | { kind: "undo" }
  | { kind: "leave" }
  | { kind: "help" };

export interface Step {
  hand: Hand;
  wishes: Wish[];
  /** Whether the key meant something, so that the browser must not act on it too. */
  taken: boolean;
}

/** What the hand needs to know of the world. `keys`: the layout, key -> class code. */
export interface World {
  cell(id: number): Cell | undefined;
  keys: Readonly<Record<string, string>>;
}

const EMPTY: ReadonlySet<number> = new Set();

export function freshHand(order: readonly number[], threshold = 0.8): Hand {
  return { order, cursor: 0, held: EMPTY, pinned: false, queue: false, threshold };
}

export const pageOf = (hand: Hand): number => Math.floor(hand.cursor / PAGE);
export const pages = (hand: Hand): number => Math.max(1, Math.ceil(hand.order.length / PAGE));

/** Ids of the cells of one page. */
export function pageIds(hand: Hand, page = pageOf(hand)): readonly number[] {
  return hand.order.slice(page * PAGE, (page + 1) * PAGE);
}

const emptied = (hand: Hand): Hand => ({ ...hand, held: EMPTY, pinned: false });

/** Puts the cursor on a page (kept within the snapshot), hand untouched. */
export function toPage(hand: Hand, page: number): Hand {
  const last = pages(hand) - 1;
  return { ...hand, cursor: Math.min(Math.max(page, 0), last) * PAGE };
}

/** One cell alone in the hand. */
export function take(hand: Hand, index: number): Hand {
  const id = hand.order[index];
  return id === undefined ? hand : { ...hand, cursor: index, held: new Set([id]), pinned: false };
}

/** Adds a cell, or takes it away where it is held already. */
export function toggle(hand: Hand, index: number): Hand {
  const id = hand.order[index];
  if (id === undefined) return hand;
  const held = new Set(hand.held);
  if (!held.delete(id)) held.add(id);
  return { ...hand, cursor: index, held, pinned: hand.pinned && held.size > 0 };
}

/** All cells between the cursor and `index` join the hand, as Shift+click does. */
export function span(hand: Hand, index: number): Hand {
  if (index < 0 || index >= hand.order.length) return hand;
  const [from, to] = hand.cursor <= index ? [hand.cursor, index] : [index, hand.cursor];
  return { ...hand, cursor: index, held: new Set([...hand.held, ...hand.order.slice(from, to + 1)]) };
}

/** Holds these cells, as a frame drawn around them does; `add` keeps what is held already. */
export function hold(hand: Hand, ids: Iterable<number>, add = false): Hand {
  const held = new Set(add ? [...hand.held, ...ids] : ids);
  const first = hand.order.findIndex((id) => held.has(id));
  return { ...hand, held, pinned: false, cursor: first >= 0 && !add ? first : hand.cursor };
}

/** The most doubtful cell that nobody has looked at, anywhere in the snapshot; those in `done` count as looked at. */
export function nextDoubtful(hand: Hand, world: World, done: ReadonlySet<number> = EMPTY): number | null {
  let best: number | null = null;
  let doubt = -1;
  hand.order.forEach((id, index) => {
    const cell = world.cell(id);
    if (!cell || !open(cell) || done.has(id) || cell.doubt <= doubt) return;
    best = index;
    doubt = cell.doubt;
  });
  return best;
}

/** After a deed on what was held: the hand empties, and in the queue the next doubtful cell comes. */
function afterDeed(hand: Hand, world: World, done: ReadonlySet<number>): Hand {
  const empty = emptied(hand);
  if (!hand.queue) return empty;
  const next = nextDoubtful(hand, world, done);
  return next === null ? { ...empty, queue: false } : take(empty, next);
}

const edits = (list: Edit[]): Wish[] => (list.length ? [{ kind: "edits", edits: list }] : []);

/** The edits that name these cells: a new name is a rename, the same one a confirmation. Removed cells are left. */
export function renaming(ids: Iterable<number>, code: string, world: World): Edit[] {
  return [...ids].flatMap((id): Edit[] => {
    const cell = world.cell(id);
    if (!cell || cell.removed) return [];
    const expected = cell.code;
    return [cell.code === code ? { kind: "confirm", cell_id: id, expected } : { kind: "rename", cell_id: id, code, expected }];
  });
}

/** The edits that confirm those of these cells that nobody has looked at. */
export function confirming(ids: Iterable<number>, world: World): Edit[] {
  return [...ids].flatMap((id): Edit[] => {
    const cell = world.cell(id);
    return cell && open(cell) ? [{ kind: "confirm", cell_id: id, expected: cell.code }] : [];
  });
}

/** The edits that remove these cells; where all of them are removed already, that bring them back. */
export function removing(ids: Iterable<number>, world: World): Edit[] {
  const cells = [...ids].flatMap((id) => world.cell(id) ?? []);
  const back = cells.every((cell) => cell.removed);
  return cells
    .filter((cell) => cell.removed === back)
    .map((cell) => ({ kind: back ? "restore" : "remove", cell_id: cell.id, expected: cell.code }));
}

/** Names what is held, in one group. */
export function name(hand: Hand, world: World, code: string): Step {
  return { hand: afterDeed(hand, world, hand.held), wishes: edits(renaming(hand.held, code, world)), taken: true };
}

function removeHeld(hand: Hand, world: World): Step {
  if (!hand.held.size) return { hand, wishes: [], taken: true };
  return { hand: afterDeed(hand, world, hand.held), wishes: edits(removing(hand.held, world)), taken: true };
}

function confirm(hand: Hand, world: World): Step {
  if (hand.held.size) {
    return { hand: afterDeed(hand, world, hand.held), wishes: edits(confirming(hand.held, world)), taken: true };
  }
  const wishes = edits(confirming(pageIds(hand), world));
  return { hand: toPage(hand, pageOf(hand) + 1), wishes, taken: true };
}

const MOVES: Partial<Record<Command, number>> = { left: -1, right: 1, up: -COLUMNS, down: COLUMNS };

function arrow(hand: Hand, by: number, join: boolean): Hand {
  const to = hand.cursor + by;
  const id = hand.order[to];
  if (id === undefined) return hand;
  const moved = { ...hand, cursor: to };
  if (join) return { ...moved, held: new Set([...hand.held, id]) };
  return hand.pinned ? moved : { ...moved, held: new Set([id]) };
}

function mark(hand: Hand): Hand {
  if (!hand.held.size) return take(hand, hand.cursor);
  return hand.pinned ? toggle(hand, hand.cursor) : { ...hand, pinned: true };
}

const rounded = (threshold: number): number => Math.min(1, Math.max(0, Math.round(threshold * 100) / 100));

function obey(hand: Hand, world: World, command: Command, shift: boolean): Step {
  const only = (changed: Hand, ...wishes: Wish[]): Step => ({ hand: changed, wishes, taken: true });
  const by = MOVES[command];
  if (by !== undefined) return only(arrow(hand, by, shift));
  switch (command) {
    case "mark":
      return only(mark(hand));
    case "all":
      return only(hold(hand, pageIds(hand).filter((id) => world.cell(id))));
    case "confirm":
      return confirm(hand, world);
    case "next-doubtful": {
      const next = nextDoubtful(hand, world);
      return only(next === null ? { ...emptied(hand), queue: false } : { ...take(hand, next), queue: true });
    }
    case "accept":
      return only(emptied(hand), { kind: "accept", above: hand.threshold });
    case "threshold-down":
      return only({ ...hand, threshold: rounded(hand.threshold - 0.05) });
    case "threshold-up":
      return only({ ...hand, threshold: rounded(hand.threshold + 0.05) });
    case "remove":
      return removeHeld(hand, world);
    case "undo":
      return only(hand, { kind: "undo" });
    case "page-down":
      return only(toPage(emptied(hand), pageOf(hand) + 1));
    case "page-up":
      return only(toPage(emptied(hand), pageOf(hand) - 1));
    case "home":
      return only(toPage(emptied(hand), 0));
    case "end":
      return only(toPage(emptied(hand), pages(hand) - 1));
    case "escape":
      return hand.held.size || hand.queue ? only({ ...emptied(hand), queue: false }) : only(hand, { kind: "leave" });
    case "help":
      return only(hand, { kind: "help" });
    default:
      return { hand, wishes: [], taken: false };
  }
}

/** One key of the gallery. */
export function press(hand: Hand, stroke: Stroke, world: World): Step {
  const nothing: Step = { hand, wishes: [], taken: false };
  const command = commandOf(stroke);
  if (command) return obey(hand, world, command, stroke.shiftKey);
  const place = placeOf(stroke);
  const key = layoutKey(stroke);
  if (stroke.repeat) return { ...nothing, taken: place !== null };
  const code = key === null ? undefined : world.keys[key];
  const index = place === null ? -1 : pageOf(hand) * PAGE + place;
  if (hand.held.size) {
    if (code !== undefined) return name(hand, world, code);
    if (place !== null && stroke.shiftKey) return { hand: toggle(hand, index), wishes: [], taken: true };
    return { ...nothing, taken: place !== null || (key?.startsWith("Numpad") ?? false) };
  }
  if (place === null) return { ...nothing, taken: key?.startsWith("Numpad") ?? false };
  return { hand: take(hand, index), wishes: [], taken: true };
}

/** Whether a class key would be understood as one now: with something in hand. */
export const naming = (hand: Hand): boolean => hand.held.size > 0;

/** How many cells accept-all would take now. */
export function acceptable(cells: Iterable<Cell>, threshold: number): number {
  let n = 0;
  for (const cell of cells) if (!cell.reviewed && counts(cell) && cell.score !== null && cell.score >= threshold) n += 1;
  return n;
}
