import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Readout } from "./talk";

const asked = vi.hoisted(() => ({ requests: [] as { method: string; path: string; body: unknown }[], answer: (): unknown => ({}), gate: Promise.resolve() }));
vi.hoisted(() => {
  globalThis.fetch = (async (request: Request) => {
    const body = request.method === "GET" ? null : await request.clone().json().catch(() => null);
    asked.requests.push({ method: request.method, path: new URL(request.url).pathname, body });
    await asked.gate;
    return new Response(JSON.stringify(asked.answer()), { status: 200, headers: { "content-type": "application/json" } });
  }) as typeof fetch;
});
const { Microscope, SILENCE_MS } = await import("./microscope.svelte");

const running = { running: true, specimen_id: null, slide_id: null, controls: {}, stage: null, stale: false, problem: null };
const readout = (more: object = {}) =>
  ({ header: { stale: false, focus: 12, captured_unix_ms: Date.now(), ...more }, seen_unix_ms: Date.now() - 100 }) as unknown as Readout;

async function started() {
  asked.answer = () => running;
  const microscope = new Microscope();
  await microscope.refresh();
  microscope.link = "open";
  asked.requests.length = 0;
  return microscope;
}
beforeEach(() => {
  asked.gate = Promise.resolve();
});
afterEach(() => {
  asked.requests.length = 0;
});

describe("a picture is stale", () => {
  it("when the station says so, when the link is lost, and when nothing comes", async () => {
    const microscope = await started();
    microscope.hear(readout());
    expect(microscope.stale).toBe(false);
    microscope.silence_ms = SILENCE_MS + 1;
    expect(microscope.stale).toBe(true);
    microscope.hear(readout());
    expect(microscope.stale).toBe(false);
    microscope.link = "lost";
    expect(microscope.stale).toBe(true);
    microscope.link = "open";
    microscope.hear(readout({ stale: true }));
    expect(microscope.stale).toBe(true);
  });
  it("not while nothing runs", () => expect(new Microscope().stale).toBe(false));
});

describe("the stage", () => {
  it("gets wishes that come while it is under way as one, and none is lost", async () => {
    const microscope = await started();
    let open = () => {};
    asked.gate = new Promise((resolve) => (open = resolve));
    const moved = [microscope.move({ x_um: 13 }), ...Array.from({ length: 5 }, () => microscope.move({ x_um: 13 })), microscope.move({ y_um: -7 })];
    open();
    await Promise.all(moved);
    const bodies = asked.requests.filter((r) => r.path === "/api/live/move").map((r) => r.body as Record<string, number>);
    expect(bodies).toHaveLength(2);
    expect(bodies.reduce((sum, b) => sum + (b.x_um ?? 0), 0)).toBe(6 * 13);
    expect(bodies.reduce((sum, b) => sum + (b.y_um ?? 0), 0)).toBe(-7);
    expect(bodies.every((b) => b.relative)).toBe(true);
  });
});

describe("a slider", () => {
  it("sends the newest value and leaves out those in between", async () => {
    const microscope = await started();
    let open = () => {};
    asked.gate = new Promise((resolve) => (open = resolve));
    const sent = [1, 2, 3, 4, 5].map((value) => microscope.set("exposure_ms", value));
    open();
    await Promise.all(sent);
    expect(asked.requests.filter((r) => r.method === "PUT").map((r) => (r.body as { exposure_ms: number }).exposure_ms)).toEqual([1, 5]);
  });
});

describe("keeping", () => {
  it("keeps one field however often the key is pressed meanwhile", async () => {
    const microscope = await started();
    const pressed = await Promise.all([microscope.keep(), microscope.keep(), microscope.keep()]);
    expect(pressed.filter(Boolean)).toHaveLength(1);
    expect(asked.requests.filter((r) => r.path === "/api/live/keep")).toHaveLength(1);
  });
  it("keeps nothing where nothing runs", async () => expect(await new Microscope().keep()).toBe(false));
});
