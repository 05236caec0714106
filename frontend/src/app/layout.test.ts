import { expect, it } from "vitest";
import { classKey } from "./layout";

const pressed = (key: string, code = "", more = {}) => classKey(new KeyboardEvent("keydown", { key, code, ...more }));

it("tells capitals and the number pad apart", () => {
  expect(pressed("m", "KeyM")).toBe("m");
  expect(pressed("M", "KeyM", { shiftKey: true })).toBe("M");
  expect(pressed("7", "Digit7")).toBe("7");
  expect(pressed("7", "Numpad7")).toBe("Numpad7");
  expect(pressed("+", "NumpadAdd")).toBe("NumpadAdd");
});
it("leaves alone what walks, confirms, undoes or belongs to the browser", () => {
  for (const key of [" ", "Enter", "ArrowLeft", "F5", "?", "é", "Shift"]) expect(pressed(key)).toBeNull();
  expect(pressed("z", "KeyZ", { ctrlKey: true })).toBeNull();
});
