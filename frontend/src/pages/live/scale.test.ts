import { expect, it } from "vitest";
import { fromSlider, toSlider } from "./scale";

it("comes back to the same value, to three digits", () => {
  for (const value of [0.1, 0.37, 1, 12.5, 99, 200]) expect(fromSlider(toSlider(value, 0.1, 200), 0.1, 200)).toBeCloseTo(value, 1);
});
it("stays inside what the camera accepts", () => {
  for (const place of [-1, 0, 0.5, 1, 2]) {
    const value = fromSlider(place, 0.123, 45.67);
    expect(value).toBeGreaterThanOrEqual(0.123);
    expect(value).toBeLessThanOrEqual(45.67);
  }
});
it("feels equal: half the way from 1 to 100 is 10", () => expect(fromSlider(0.5, 1, 100)).toBeCloseTo(10, 6));
it("stands still where a control has one value alone", () => expect(toSlider(1, 1, 1)).toBe(0));
