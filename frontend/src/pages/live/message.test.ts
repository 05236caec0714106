import { describe, expect, it } from "vitest";
import { readMessage } from "./message";

function message(header: unknown, picture: number[], length?: number): ArrayBuffer {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(4 + text.length + picture.length);
  new DataView(bytes.buffer).setUint32(0, length ?? text.length);
  bytes.set(text, 4);
  bytes.set(picture, 4 + text.length);
  return bytes.buffer;
}

describe("readMessage", () => {
  it("gives back header and picture, also with names beyond ASCII", () => {
    const { header, picture } = readMessage(message({ number: 7, visit: "原" }, [255, 216, 1]));
    expect(header).toEqual({ number: 7, visit: "原" });
    expect([...picture]).toEqual([255, 216, 1]);
  });
  it("takes a message without a picture", () => expect(readMessage(message({}, [])).picture.length).toBe(0));
  it("refuses a message that is shorter than it says", () => {
    expect(() => readMessage(message({}, [], 5000))).toThrow(RangeError);
    expect(() => readMessage(new ArrayBuffer(3))).toThrow(RangeError);
  });
});
