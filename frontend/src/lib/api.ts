/** How the page talks to the station. Types come from the station's OpenAPI description (`npm run api`). */
import createClient from "openapi-fetch";
import type { paths } from "./api-schema";

/** The station refused. `code` is the class of the error there (`Locked`, `Conflict`, `NotAllowed`, ...). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export function cookie(name: string): string {
  for (const part of document.cookie.split(";")) {
    const [key, ...value] = part.trim().split("=");
    if (key === name) return decodeURIComponent(value.join("="));
  }
  return "";
}

/** The header that every unsafe request carries; for the rare `fetch` or `XMLHttpRequest` outside `api`. */
export const csrf = (): Record<string, string> => ({ "X-CSRF-Token": cookie("marrowscope_csrf") });

/** Called when the station no longer knows who we are. The session sets it. */
export const onSignedOut: { call: () => void } = { call: () => {} };

export const api = createClient<paths>({ baseUrl: location.origin, credentials: "same-origin" });
api.use({
  onRequest({ request }) {
    if (request.method !== "GET" && request.method !== "HEAD") {
      request.headers.set("X-CSRF-Token", cookie("marrowscope_csrf"));
    }
    return request;
  },
  async onResponse({ response, schemaPath }) {
    if (response.status !== 401 || schemaPath === "/api/me") return;
    // A wrong password is 401 too, and ends nothing.
    const body = (await response.clone().json().catch(() => null)) as { error?: string } | null;
    if (body?.error === "not_signed_in") onSignedOut.call();
  },
});

/** An error body of the station, or of the machinery before it, as an ApiError. */
export function asError(status: number, body: unknown): ApiError {
  if (body && typeof body === "object") {
    const { error, message, detail } = body as { error?: unknown; message?: unknown; detail?: unknown };
    if (typeof message === "string") return new ApiError(status, String(error ?? status), message);
    if (typeof detail === "string") return new ApiError(status, String(status), detail);
    if (Array.isArray(detail)) {
      const lines = detail.map((d: { loc?: unknown[]; msg?: string }) => `${(d.loc ?? []).slice(1).join(".")}: ${d.msg}`);
      return new ApiError(status, String(status), lines.join("; "));
    }
  }
  return new ApiError(status, String(status), `The station answered ${status}.`);
}

/** The answer itself, or a thrown ApiError: `const me = await ask(api.GET("/api/me"))`. */
export async function ask<T>(reply: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await reply;
  if (!response.ok) throw asError(response.status, error);
  return data as T;
}
