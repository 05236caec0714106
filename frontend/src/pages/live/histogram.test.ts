import { expect, it } from "vitest";
import { BINS, histogram } from "./histogram";

const of = (...pixels: [number, number, number][]) => histogram(new Uint8ClampedArray(pixels.flatMap((p) => [...p, 255])));

it("puts each value into its step, channel by channel", () => {
  const h = of([0, 128, 255]);
  expect(h.red[0]).toBe(1);
  expect(h.green[BINS / 2]).toBe(1);
  expect(h.blue[BINS - 1]).toBe(1);
});
it("says which share is clipped", () => {
  const h = of([255, 255, 255], [254, 10, 0]);
  expect(h.bright).toBeCloseTo(3 / 6);
  expect(h.dark).toBeCloseTo(1 / 6);
});
it("says nothing of nothing", () => expect(of().bright).toBe(0));
