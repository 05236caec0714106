import { describe, expect, it } from "vitest";
import { match } from "./router.svelte";

describe("match", () => {
  it("finds what stands for a name", () => {
    expect(match("/cases/:id/review", "/cases/12/review")).toEqual({ id: "12" });
    expect(match("/cases/:id", "/cases/a%20b")).toEqual({ id: "a b" });
  });
  it("takes a slash at the end for nothing", () => expect(match("/live", "/live/")).toEqual({}));
  it("refuses what is longer, shorter or other", () => {
    expect(match("/cases/:id", "/cases")).toBeNull();
    expect(match("/cases/:id", "/cases/1/review")).toBeNull();
    expect(match("/live", "/admin")).toBeNull();
  });
  it("refuses what cannot be decoded", () => expect(match("/cases/:id", "/cases/%E0%A4%A")).toBeNull());
});
