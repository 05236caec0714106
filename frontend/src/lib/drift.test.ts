import { flushSync, mount, unmount } from "svelte";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DriftOutlook } from "./types";

const station = vi.hoisted(() => ({ answer: (): unknown => ({}), status: 200, asked: [] as string[] }));
vi.hoisted(() => {
  globalThis.fetch = (async (request: Request) => {
    station.asked.push(new URL(request.url).pathname);
    return new Response(JSON.stringify(station.answer()), { status: station.status, headers: { "content-type": "application/json" } });
  }) as typeof fetch;
});
const { EVERY_MS, DriftWatch, digits } = await import("./drift.svelte");
const { default: DriftNotice } = await import("./components/DriftNotice.svelte");

const light = { name: "lightness", kind: "looks" as const, usual: { low: 70.04, middle: 74, high: 78 }, incoming: { low: 50, middle: 52.31, high: 55 }, away: -5.4, drifted: true };
const alarm: DriftOutlook = {
  alarm: true,
  known: true,
  verdict: "The last 40 fields look unlike those the model learned: lightness.",
  advice: "Check stain, lamp and exposure.",
  fields: 40,
  statistics: [light, { ...light, name: "score", kind: "finds", away: 0.2, drifted: false }],
};
const usual: DriftOutlook = { ...alarm, alarm: false, verdict: "The last 40 fields look like those the model learned.", advice: "", statistics: [] };

let shown: Record<string, unknown> | null = null;
async function show(answer: DriftOutlook, always = false): Promise<HTMLElement | null> {
  station.answer = () => answer;
  shown = mount(DriftNotice, { target: document.body, props: { always } });
  flushSync();
  await vi.waitFor(() => expect(station.asked).toContain("/api/drift"));
  await new Promise((done) => setTimeout(done, 20));
  flushSync();
  return document.querySelector<HTMLElement>("[data-testid=drift]");
}
beforeEach(() => {
  station.asked.length = 0;
  station.status = 200;
});
afterEach(async () => {
  if (shown) await unmount(shown);
  shown = null;
  vi.useRealTimers();
});

describe("the notice of drift", () => {
  it("says what has drifted and what to check, and lists the numbers", async () => {
    const notice = await show(alarm);
    expect(notice?.textContent).toContain("The last 40 fields look unlike those the model learned: lightness.");
    expect(notice?.textContent).toContain("Check stain, lamp and exposure.");
    const rows = [...notice!.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent));
    expect(rows[0]).toEqual(["lightness", "70 to 78", "52.3", "−5.4"]);
    expect([...notice!.querySelectorAll(".drifted")].map((row) => row.firstElementChild?.textContent)).toEqual(["lightness"]);
    expect(notice!.querySelector("details")?.open).toBe(false);
    expect(document.querySelector("dialog, [role=dialog], [role=alertdialog]")).toBeNull();
  });
  it("does not appear without an alarm", async () => expect(await show(usual)).toBeNull());
  it("does not appear where the model does not know its training fields", async () => {
    expect(await show({ ...usual, known: false, verdict: "The model in service (demo) does not know …" })).toBeNull();
  });
  it("says where asked that all is as usual, and does not warn", async () => {
    const notice = await show(usual, true);
    expect(notice?.textContent).toContain("look like those the model learned");
    expect(notice?.classList.contains("warn")).toBe(false);
    expect(notice?.querySelector("details")).toBeNull();
  });
});

describe("the station", () => {
  it("is asked again after a while, until the page is left", async () => {
    vi.useFakeTimers();
    station.answer = () => usual;
    const end = new DriftWatch().watch();
    await vi.advanceTimersByTimeAsync(2 * EVERY_MS + 1);
    expect(station.asked).toHaveLength(3);
    end();
    await vi.advanceTimersByTimeAsync(3 * EVERY_MS);
    expect(station.asked).toHaveLength(3);
  });
  it("that does not answer leaves the last answer standing", async () => {
    const drift = new DriftWatch();
    station.answer = () => alarm;
    await drift.refresh();
    station.status = 503;
    await drift.refresh();
    expect(drift.outlook).toEqual(alarm);
  });
});

it("numbers have three digits", () => expect([0.123456, 74.04, 1234.5, -5].map(digits)).toEqual(["0.123", "74", "1230", "−5"]));
