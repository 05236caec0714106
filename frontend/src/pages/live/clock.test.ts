import { describe, expect, it } from "vitest";
import { Rate, Recent, StationClock } from "./clock";

describe("StationClock", () => {
  it("measures the whole age where both clocks agree, travel included", () => {
    const clock = new StationClock();
    for (let i = 0; i < 20; i++) clock.note(1000 * i, 1000 * i + 30 + i);
    expect(clock.age(50_000, 50_120)).toBe(120);
  });
  it.each([-90_000, -40, 3_600_000])("sees through a clock that is off by %i ms", (off) => {
    const clock = new StationClock();
    for (const travel of [12, 5, 30, 8]) clock.note(10_000, 10_000 + off + travel);
    // Right up to the travel of the quickest message.
    expect(Math.abs(clock.age(20_000, 20_000 + off + 120) - 120)).toBeLessThanOrEqual(40);
  });
  it("never says that a picture comes from the future", () => {
    expect(new StationClock().age(5000, 4000)).toBe(0);
  });
  it("forgets a clock that was set right meanwhile", () => {
    const clock = new StationClock(250, 5);
    clock.note(0, -10_000);
    for (let i = 0; i < 5; i++) clock.note(0, 10);
    expect(clock.skew_ms).toBe(0);
  });
});

describe("Recent", () => {
  it("gives the value that a share does not exceed", () => {
    const recent = new Recent(100);
    for (let i = 1; i <= 100; i++) recent.add(i);
    expect([recent.quantile(0), recent.quantile(0.5), recent.quantile(0.95), recent.quantile(1)]).toEqual([1, 50, 95, 100]);
  });
  it("keeps the last ones alone", () => {
    const recent = new Recent(3);
    for (const value of [100, 1, 2, 3]) recent.add(value);
    expect(recent.mean).toBe(2);
  });
  it("has nothing to say of nothing", () => expect(new Recent(3).quantile(0.5)).toBeNull());
});

describe("Rate", () => {
  it("is what it was fed with", () => {
    const rate = new Rate();
    for (let t = 0; t <= 4000; t += 40) rate.add(t);
    expect(rate.at(4000)).toBeCloseTo(25, 0);
  });
  it("falls to nothing when nothing comes", () => {
    const rate = new Rate();
    for (let t = 0; t <= 2000; t += 40) rate.add(t);
    expect(rate.at(3000)).toBeLessThan(20);
    expect(rate.at(9000)).toBe(0);
  });
});
