import { describe, expect, test } from "vitest";
import { PAGE, day, fromQuery, pagesOf, toHref, walk, type Wanted } from "./caselist";

test("what the address says comes back as it was asked for", () => {
  const all: Wanted[] = [
    { text: "", state: "", page: 0 },
    { text: "BM-26 & co", state: "signed", page: 3 },
    { text: "骨髓", state: "open", page: 0 },
  ];
  for (const wanted of all) expect(fromQuery(new URLSearchParams(toHref(wanted).split("?")[1] ?? ""))).toEqual(wanted);
});

test("an address that makes no sense is the first page of all cases", () => {
  expect(fromQuery(new URLSearchParams("state=lost&page=-4"))).toEqual({ text: "", state: "", page: 0 });
  expect(fromQuery(new URLSearchParams("page=two"))).toEqual({ text: "", state: "", page: 0 });
});

describe("the mark in the list", () => {
  test("goes on to the next page at the end and back to the end of the one before", () => {
    expect(walk("ArrowDown", PAGE - 1, PAGE, 0, 2)).toEqual({ at: 0, page: 1 });
    expect(walk("ArrowUp", 0, 4, 1, 2)).toEqual({ at: PAGE - 1, page: 0 });
  });
  test("stays at both ends of everything", () => {
    expect(walk("ArrowDown", 3, 4, 1, 2)).toEqual({ at: 3, page: 1 });
    expect(walk("ArrowUp", 0, 4, 0, 2)).toEqual({ at: 0, page: 0 });
    expect(walk("PageUp", 2, 4, 0, 2)).toEqual({ at: 0, page: 0 });
  });
  test("knows no other key", () => expect(walk("x", 0, 4, 0, 2)).toBeNull());
});

test("there is always a page", () => {
  expect([0, 1, PAGE, PAGE + 1].map(pagesOf)).toEqual([1, 1, 1, 2]);
});

test("a day is the day that was written, in every time zone", () => {
  expect(day("2026-11-03")).toBe("3 Nov 2026");
  expect(day(null)).toBe("");
});
