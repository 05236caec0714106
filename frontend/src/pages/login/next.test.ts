import { expect, it } from "vitest";
import { safeNext } from "./next";

it("leads back to an address of this page", () => expect(safeNext("/cases/3?x=1")).toBe("/cases/3?x=1"));
it("leads nowhere else", () => {
  for (const wanted of [null, "", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "cases"]) {
    expect(safeNext(wanted)).toBe("/");
  }
});
it("does not go round in a circle", () => {
  expect(safeNext("/login?next=/login")).toBe("/");
  expect(safeNext("/setup")).toBe("/");
});
