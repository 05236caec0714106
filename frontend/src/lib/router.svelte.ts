/** The router of the page: a path decides which component is shown. Pages are loaded when they are first visited. */
import type { Component } from "svelte";

export interface Route {
  /** The pattern that matched, such as "/cases/:id". */
  pattern: string;
  /** What stood for `:name` in the pattern. */
  params: Record<string, string>;
  query: URLSearchParams;
  path: string;
}

/** The parameters of `path` under `pattern`, or null where it does not match. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/").filter(Boolean);
  const given = path.split("/").filter(Boolean);
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [i, part] of wanted.entries()) {
    const value = given[i] ?? "";
    if (!part.startsWith(":")) {
      if (part !== value) return null;
    } else {
      try {
        params[part.slice(1)] = decodeURIComponent(value);
      } catch {
        return null;
      }
    }
  }
  return params;
}

// Every page takes its own props; the shell passes `id` where the pattern has one.
export type Page = Component<any>;
export type Pages = Record<string, () => Promise<{ default: Page }>>;

class Router {
  #href = $state(location.pathname + location.search);

  constructor() {
    addEventListener("popstate", () => (this.#href = location.pathname + location.search));
  }

  /** The address now, without the host. */
  get href(): string {
    return this.#href;
  }

  get path(): string {
    return this.#href.split("?")[0] ?? "/";
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#href.split("?")[1] ?? "");
  }

  /** Where we are, of the patterns given; null where none matches. */
  route(patterns: Iterable<string>): Route | null {
    for (const pattern of patterns) {
      const params = match(pattern, this.path);
      if (params) return { pattern, params, query: this.query, path: this.path };
    }
    return null;
  }

  /** Go to an address of this page, such as "/cases/3". */
  go(href: string, { replace = false } = {}): void {
    if (href === this.#href) return;
    history[replace ? "replaceState" : "pushState"](null, "", href);
    this.#href = href;
    if (!replace) scrollTo(0, 0);
  }

  /** Let ordinary links of this page stay within it; those with modifiers, targets or downloads are the browser's. */
  follow = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a[href]") as HTMLAnchorElement | null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/") || link.getAttribute("href")?.startsWith("#")) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  };
}

export const router = new Router();
export const go = (href: string, options?: { replace?: boolean }): void => router.go(href, options);
