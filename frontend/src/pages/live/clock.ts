/** How old a picture is when it is seen. */

/**
 * The station's clock as this machine sees it.
 *
 * Where both clocks agree, the age is simply now minus the time of exposure. A browser on another machine may have a
 * clock that is off by seconds: the quickest message of the last ones tells by how much, as nothing arrives before it
 * was sent. The age is then too small by that message's travel time, which the network keeps short.
 */
export class StationClock {
  #offsets: number[] = [];

  constructor(
    /** A difference up to this is taken for travel, not for a clock that is off. */
    readonly tolerance_ms = 250,
    readonly length = 120,
  ) {}

  /** A message sent at `sent` (station's clock) came at `now` (ours); both in unix ms. */
  note(sent: number, now: number): void {
    this.#offsets.push(now - sent);
    if (this.#offsets.length > this.length) this.#offsets.shift();
  }

  /** What to take off our clock to have the station's. */
  get skew_ms(): number {
    if (!this.#offsets.length) return 0;
    const quickest = Math.min(...this.#offsets);
    return quickest >= 0 && quickest < this.tolerance_ms ? 0 : quickest;
  }

  /** Milliseconds since `captured` (station's clock), at `now` (ours). Never negative. */
  age(captured: number, now: number): number {
    return Math.max(0, now - this.skew_ms - captured);
  }
}

/** The last values of something, and what they come to. */
export class Recent {
  #values: number[] = [];
  #at = 0;

  constructor(readonly length: number) {}

  add(value: number): void {
    this.#values[this.#at] = value;
    this.#at = (this.#at + 1) % this.length;
  }

  clear(): void {
    this.#values = [];
    this.#at = 0;
  }

  /** The value that the share `q` (0-1) of them does not exceed; null where there are none. */
  quantile(q: number): number | null {
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - (q > 0 ? 1 : 0))] ?? null;
  }

  get mean(): number | null {
    return this.#values.length ? this.#values.reduce((a, b) => a + b, 0) / this.#values.length : null;
  }
}

/** How many times a second something happened, over the last seconds. */
export class Rate {
  #times: number[] = [];

  constructor(readonly window_ms = 2000) {}

  add(now: number): void {
    this.#times.push(now);
    while (this.#times.length && this.#times[0]! < now - this.window_ms) this.#times.shift();
  }

  /** Per second, at `now`. */
  at(now: number): number {
    const recent = this.#times.filter((t) => t >= now - this.window_ms);
    if (recent.length < 2) return recent.length ? 1000 / Math.max(this.window_ms, 1) : 0;
    // From the first to now, so that the rate falls when nothing comes any more.
    return (1000 * recent.length) / Math.max(now - recent[0]! + (recent.at(-1)! - recent[0]!) / (recent.length - 1), 1);
  }
}
