import { expect, test } from "vitest";
import { acceptable } from "./upload";

test("pictures of the three kinds may be sent, whatever their ending is called", () => {
  for (const name of ["a.jpg", "A.JPEG", "b.png", "c.tif", "d.tiff"]) expect(acceptable({ name, size: 10, type: "" })).toBeNull();
  expect(acceptable({ name: "scan", size: 10, type: "image/png" })).toBeNull();
});

test("what cannot be a field is turned down before it travels, with its name", () => {
  for (const file of [{ name: "a.pdf", size: 9, type: "application/pdf" }, { name: "a.jpg", size: 0, type: "" }, { name: "a.jpg", size: 2 ** 31, type: "" }]) {
    expect(acceptable(file)).toContain(file.name);
  }
});
