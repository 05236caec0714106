import { describe, expect, it } from "vitest";
import { ApiError, ask, asError } from "./api";

describe("errors of the station", () => {
  it("keep the station's words", () => {
    const error = asError(409, { error: "Conflict", message: "M26-1 is taken. Choose another number." });
    expect(error).toMatchObject({ status: 409, code: "Conflict", message: "M26-1 is taken. Choose another number." });
  });
  it("name the fields that were wrong", () => {
    expect(asError(422, { detail: [{ loc: ["body", "code"], msg: "too long" }] }).message).toBe("code: too long");
  });
  it("say something where a proxy answered with a page", () => expect(asError(502, "<html>").message).toContain("502"));
});

describe("ask", () => {
  const reply = (status: number, data?: unknown, error?: unknown) => Promise.resolve({ data, error, response: new Response(null, { status }) });
  it("gives the data", async () => expect(await ask(reply(200, { id: 3 }))).toEqual({ id: 3 }));
  it("throws what the station said", async () => {
    await expect(ask(reply(423, undefined, { error: "Locked", message: "signed" }))).rejects.toBeInstanceOf(ApiError);
  });
});
