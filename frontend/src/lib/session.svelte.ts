/** Who is signed in, and what that person may do. */
import { api, ApiError, ask, onSignedOut } from "./api";
import type { Me } from "./types";

export type Role = "reader" | "technician" | "haematologist" | "admin";

class Session {
  /** undefined: not asked yet; null: nobody. */
  me = $state.raw<Me | null | undefined>(undefined);

  async load(): Promise<void> {
    try {
      this.me = await ask(api.GET("/api/me"));
    } catch (problem) {
      if (!(problem instanceof ApiError) || (problem.status !== 401 && problem.status !== 403)) throw problem;
      this.me = null;
    }
  }

  async login(name: string, password: string): Promise<void> {
    this.me = await ask(api.POST("/api/login", { body: { name, password } }));
  }

  async logout(): Promise<void> {
    await ask(api.POST("/api/logout"));
    this.me = null;
  }

  is(...roles: Role[]): boolean {
    return roles.includes((this.me?.role ?? "") as Role);
  }

  /** Keeps fields, corrects cells. */
  get works(): boolean {
    return this.is("technician", "haematologist", "admin");
  }

  /** Signs reports. */
  get signs(): boolean {
    return this.is("haematologist");
  }

  get administers(): boolean {
    return this.is("admin");
  }
}

export const session = new Session();
onSignedOut.call = () => {
  if (session.me) session.me = null;
};
