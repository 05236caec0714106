import { describe, expect, it } from "vitest";
import { inkOn, luminance, onBlack } from "./colour";

// Okabe and Ito, as the station sends them.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#f0e442", "#56b4e9", "#e69f00", "#000000"];
const contrast = (a: string, b: string) => {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
};

describe("colours of lineages", () => {
  it("carry ink that can be read (WCAG AA for bold type, 3:1)", () => {
    for (const colour of COLOURS) expect(contrast(colour, inkOn(colour))).toBeGreaterThan(3);
  });
  it("are seen on black, black too", () => {
    for (const colour of COLOURS) expect(contrast(onBlack(colour), "#000000")).toBeGreaterThan(4.5);
  });
  it("stay as they are on black where they are bright enough", () => expect(onBlack("#f0e442")).toBe("#f0e442"));
});
