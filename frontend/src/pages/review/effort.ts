/**
 * What a case costs: seconds, keystrokes, clicks.
 *
 * A keystroke is a key going down on the gallery or the canvas, outside text fields; Shift and Ctrl count as keys of
 * their own, auto-repeat does not count. Seconds run while the page is visible and something was done within the last
 * minute. Time comes in from outside, in milliseconds.
 */

export interface Effort {
  seconds: number;
  keystrokes: number;
  clicks: number;
}

export const IDLE_MS = 60_000;

export class EffortCounter {
  #keystrokes = 0;
  #clicks = 0;
  #spent = 0;
  /** Up to here time has been counted. */
  #upTo: number;
  #lastDeed: number;
  #visible: boolean;

  constructor(now: number, visible = true) {
    this.#upTo = now;
    this.#lastDeed = now;
    this.#visible = visible;
  }

  #count(now: number): void {
    // Reading after the last deed counts for a minute, and no longer.
    const until = Math.min(now, this.#lastDeed + IDLE_MS);
    if (this.#visible && until > this.#upTo) this.#spent += until - this.#upTo;
    this.#upTo = Math.max(this.#upTo, now);
  }

  key(now: number, repeat: boolean): void {
    if (repeat) return;
    this.#keystrokes += 1;
    this.alive(now);
  }

  click(now: number): void {
    this.#clicks += 1;
    this.alive(now);
  }

  /** Something was done that is no key and no click: the wheel, the mouse moved. */
  alive(now: number): void {
    this.#count(now);
    this.#lastDeed = now;
  }

  visible(now: number, visible: boolean): void {
    this.#count(now);
    this.#visible = visible;
    if (visible) this.#lastDeed = now;
  }

  /** What has gathered since the last call; null where nothing has. Whole seconds; the rest stays for the next time. */
  take(now: number): Effort | null {
    this.#count(now);
    const seconds = Math.floor(this.#spent / 1000);
    if (!seconds && !this.#keystrokes && !this.#clicks) return null;
    const effort = { seconds, keystrokes: this.#keystrokes, clicks: this.#clicks };
    this.#spent -= seconds * 1000;
    this.#keystrokes = 0;
    this.#clicks = 0;
    return effort;
  }

  /** Puts back what could not be sent. */
  giveBack(effort: Effort): void {
    this.#spent += effort.seconds * 1000;
    this.#keystrokes += effort.keystrokes;
    this.#clicks += effort.clicks;
  }

  /** Whole seconds that have gathered since the last `take`. */
  seconds(now: number): number {
    this.#count(now);
    return Math.floor(this.#spent / 1000);
  }
}
