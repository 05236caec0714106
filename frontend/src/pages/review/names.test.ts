import { expect, test } from "vitest";
import { keyCap, minutes, percent, shortName } from "./names";

test("a name that fits stays as it is; one that does not grows shorter", () => {
  expect(shortName("lymphocyte", 10)).toBe("lymphocyte");
  for (const name of ["polychromatic erythroblast", "segmented neutrophil", "neutrophilic metamyelocyte"]) {
    expect(shortName(name, 12).length).toBeLessThan(name.length);
    expect(shortName(name, 99)).toBe(name);
  }
});

test("different classes keep different short names", () => {
  const names = [
    "polychromatic erythroblast",
    "orthochromatic erythroblast",
    "basophilic erythroblast",
    "megaloblastic polychromatic erythroblast",
    "megaloblastic orthochromatic erythroblast",
    "eosinophilic myelocyte",
    "eosinophilic metamyelocyte",
    "neutrophilic myelocyte",
    "neutrophilic metamyelocyte",
    "segmented eosinophil",
    "segmented neutrophil",
  ];
  expect(new Set(names.map((name) => shortName(name, 1))).size).toBe(names.length);
});

test("keys, shares and minutes are written as they are read", () => {
  expect(["m", "M", "7", "Numpad7", "NumpadAdd"].map(keyCap)).toEqual(["M", "⇧M", "7", "n7", "n+"]);
  expect([19.43, 0, null, undefined].map(percent)).toEqual(["19.4", "0.0", "–", "–"]);
  expect([0, 65, 600].map(minutes)).toEqual(["0:00", "1:05", "10:00"]);
});
