/** The microscope of the station as this page knows it: its state, what it counts, and what may be asked of it. */
import { api, ask } from "$lib/api";
import { complain, say } from "$lib/toasts.svelte";
import type { Counts, FocusSweep, KeptField, LiveState, SlideMap, SpecimenDetail } from "$lib/types";
import type { Link, Readout } from "./talk";

const STATE_MS = 2000;
const COUNTS_MS = 1500;
const MAP_MS = 1000;
/** Without a picture for so long, the last one is stale, whatever the station says. */
export const SILENCE_MS = 1000;

export type Axis = "x_um" | "y_um" | "z_um";
type Control = "exposure_ms" | "gain" | "red" | "blue";

export class Microscope {
  state = $state.raw<LiveState | null>(null);
  counts = $state.raw<Counts | null>(null);
  map = $state.raw<SlideMap | null>(null);
  detail = $state.raw<SpecimenDetail | null>(null);
  readout = $state.raw<Readout | null>(null);
  link = $state<Link>("connecting");
  /** Focus scores of the last while, newest last. */
  focus = $state.raw<number[]>([]);
  sweep = $state.raw<FocusSweep | null>(null);
  /** What is being done now: "focus", "exposure", ... */
  busy = $state<string | null>(null);
  keeping = $state(false);
  lastKept = $state.raw<KeptField | null>(null);
  /** Milliseconds since anything was heard from the stream. */
  silence_ms = $state(0);
  /** The station itself could not be asked. */
  problem = $state.raw<unknown>(null);

  #heard = performance.now();
  #timers: ReturnType<typeof setInterval>[] = [];
  #move: Partial<Record<Axis, number>> = {};
  #moving = false;
  #wish: Partial<Record<Control, number>> = {};
  #wishing = false;

  get running(): boolean {
    return this.state?.running ?? false;
  }

  /** The picture on the screen is old: the station says so, or nothing has come for a while. */
  get stale(): boolean {
    if (!this.running || !this.readout) return false;
    return this.readout.header.stale || this.link !== "open" || this.silence_ms > SILENCE_MS;
  }

  /** Seconds since the exposure of the picture on the screen. */
  get age_s(): number {
    void this.silence_ms;
    const seen = this.readout?.seen_unix_ms;
    return seen === undefined ? 0 : Math.max(0, (Date.now() - seen) / 1000);
  }

  /** Begin to ask; the return ends it. */
  watch(): () => void {
    void this.refresh();
    const every = (ms: number, ask: () => Promise<void>) => {
      let asked = false;
      this.#timers.push(
        setInterval(() => {
          // A slow answer is not asked for twice; a hidden page asks for nothing.
          if (asked || document.hidden) return;
          asked = true;
          void ask().finally(() => (asked = false));
        }, ms),
      );
    };
    every(STATE_MS, () => this.refresh());
    every(COUNTS_MS, () => this.#refreshCounts());
    every(MAP_MS, () => this.#refreshMap());
    this.#timers.push(setInterval(() => (this.silence_ms = performance.now() - this.#heard), 250));
    return () => this.#timers.splice(0).forEach(clearInterval);
  }

  async refresh(): Promise<void> {
    try {
      await this.#take(await ask(api.GET("/api/live")));
      this.problem = null;
    } catch (problem) {
      this.problem = problem;
    }
  }

  async #take(state: LiveState): Promise<void> {
    const before = this.state;
    this.state = state;
    if (!state.running) {
      this.readout = null;
      this.focus = [];
    }
    if (state.specimen_id && (state.specimen_id !== before?.specimen_id || state.slide_id !== before?.slide_id)) {
      this.lastKept = null;
      this.counts = null;
      this.map = null;
      this.detail = await ask(
        api.GET("/api/specimens/{specimen_id}", { params: { path: { specimen_id: state.specimen_id } } }),
      );
    }
    if (state.running && !before?.running) {
      void this.#refreshCounts();
      void this.#refreshMap();
    }
  }

  async #refreshCounts(): Promise<void> {
    if (this.running) this.counts = await ask(api.GET("/api/live/counts")).catch(() => this.counts);
  }

  async #refreshMap(): Promise<void> {
    if (this.running) this.map = await ask(api.GET("/api/live/map")).catch(() => this.map);
  }

  hear(readout: Readout): void {
    this.#heard = performance.now();
    this.silence_ms = 0;
    this.readout = readout;
    if (readout.header.focus !== null) this.focus = [...this.focus.slice(-149), readout.header.focus];
  }

  /** Do one thing at a time, and say what went wrong. */
  async #do<T>(what: string, job: () => Promise<T>): Promise<T | undefined> {
    if (this.busy) return;
    this.busy = what;
    try {
      return await job();
    } catch (problem) {
      complain(problem);
    } finally {
      this.busy = null;
    }
  }

  start(address: string, specimen_id: number, slide_id: number | null): Promise<void | undefined> {
    return this.#do("start", async () => {
      this.link = "connecting";
      await this.#take(await ask(api.POST("/api/live/start", { body: { address, specimen_id, slide_id } })));
    });
  }

  stop(): Promise<void | undefined> {
    return this.#do("stop", async () => this.#take(await ask(api.POST("/api/live/stop"))));
  }

  /** Keep what is under the lens; true where it was kept. */
  async keep(): Promise<boolean> {
    if (this.keeping || !this.running) return false;
    this.keeping = true;
    try {
      this.lastKept = await ask(api.POST("/api/live/keep"));
      void this.#refreshCounts();
      void this.#refreshMap();
      return true;
    } catch (problem) {
      complain(problem);
      return false;
    } finally {
      this.keeping = false;
    }
  }

  /** Move by so much. Wishes that come while the stage is under way are added up and sent as one. */
  async move(by: Partial<Record<Axis, number>>): Promise<void> {
    for (const [axis, value] of Object.entries(by) as [Axis, number][]) this.#move[axis] = (this.#move[axis] ?? 0) + value;
    if (this.#moving) return;
    this.#moving = true;
    try {
      while (Object.keys(this.#move).length) {
        const next = this.#move;
        this.#move = {};
        await this.#take(await ask(api.POST("/api/live/move", { body: { ...next, relative: true } })));
      }
    } catch (problem) {
      this.#move = {};
      complain(problem);
    } finally {
      this.#moving = false;
    }
  }

  async goTo(x_um: number, y_um: number): Promise<void> {
    try {
      await this.#take(await ask(api.POST("/api/live/move", { body: { x_um, y_um, relative: false } })));
    } catch (problem) {
      complain(problem);
    }
  }

  /** Set a control of the camera. While one wish is on its way, only the newest value of each waits. */
  async set(control: Control, value: number): Promise<void> {
    this.#wish[control] = value;
    if (this.#wishing) return;
    this.#wishing = true;
    try {
      while (Object.keys(this.#wish).length) {
        const next = this.#wish;
        this.#wish = {};
        const state = await ask(api.PUT("/api/live/controls", { body: next }));
        if (!Object.keys(this.#wish).length) await this.#take(state);
      }
    } catch (problem) {
      this.#wish = {};
      complain(problem);
    } finally {
      this.#wishing = false;
    }
  }

  autoExposure(): Promise<void | undefined> {
    return this.#do("exposure", async () => this.#take(await ask(api.POST("/api/live/exposure"))));
  }

  /** place: on empty glass, in pixels of the frame; left out, the whole picture is taken for grey. */
  whiteBalance(place: { x: number; y: number } | null): Promise<void | undefined> {
    return this.#do("white balance", async () => {
      await this.#take(await ask(api.POST("/api/live/white-balance", { body: place ?? {} })));
      say("White balance set.", "good");
    });
  }

  autofocus(): Promise<void | undefined> {
    return this.#do("focus", async () => {
      this.sweep = await ask(api.POST("/api/live/focus"));
      await this.refresh();
    });
  }

  fault(kind: "drop" | "freeze" | "unplug" | "replug" | "late", value: number): Promise<void | undefined> {
    return this.#do("fault", async () => this.#take(await ask(api.POST("/api/live/faults", { body: { kind, value } }))));
  }
}
