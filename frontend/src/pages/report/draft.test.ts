import { describe, expect, test } from "vitest";
import { Saver, toggled } from "./draft";

test("choosing twice is not choosing, and the order of choosing stays", () => {
  expect([3, 1, 2, 1].reduce((ids, id) => toggled(ids, id), [] as number[])).toEqual([3, 2]);
  expect(toggled([1, 2], 3, 2)).toEqual([1, 2]);
  expect(toggled([1, 2], 1, 2)).toEqual([2]);
});

function desk(failures = 0) {
  const kept: string[] = [];
  const told: string[] = [];
  const saver = new Saver<string>(
    async (value) => {
      await Promise.resolve();
      if (failures-- > 0) throw new Error("no");
      kept.push(value);
    },
    (state) => told.push(state),
    1e6,
  );
  return { saver, kept, told };
}

describe("the saver", () => {
  test("saves the newest words alone", async () => {
    const { saver, kept } = desk();
    for (const words of ["n", "no", "normal"]) saver.change(words);
    expect(await saver.flush()).toBe(true);
    expect(kept).toEqual(["normal"]);
    expect(saver.unsaved).toBe(false);
  });

  test("what is written during a save is saved after it", async () => {
    const { saver, kept } = desk();
    saver.change("one");
    const first = saver.flush();
    saver.change("two");
    await first;
    await saver.flush();
    expect(kept).toEqual(["one", "two"]);
  });

  test("what cannot be saved is told and not lost", async () => {
    const { saver, kept, told } = desk(1);
    saver.change("words");
    expect(await saver.flush()).toBe(false);
    expect(told.at(-1)).toBe("unsaved");
    expect(saver.unsaved).toBe(true);
    expect(await saver.flush()).toBe(true);
    expect(kept).toEqual(["words"]);
  });

  test("nothing to save is saved", async () => {
    const { saver, kept } = desk();
    expect(await saver.flush()).toBe(true);
    expect(kept).toEqual([]);
    saver.stop();
  });
});
