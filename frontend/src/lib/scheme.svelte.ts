/** The classes of the station: names and colours by code. Loaded once, when somebody is signed in. */
import { api, ask } from "./api";
import { inkOn } from "./colour";
import type { Scheme } from "./types";

export type CellClass = Scheme["classes"][number];

class Classes {
  name = $state("");
  /** The code of the unidentified bucket. */
  other = $state("OTHER");
  all = $state.raw<CellClass[]>([]);
  #byCode = new Map<string, CellClass>();

  async load(): Promise<void> {
    if (this.all.length) return;
    const scheme = await ask(api.GET("/api/scheme"));
    this.#byCode = new Map(scheme.classes.map((c: CellClass) => [c.code, c]));
    this.name = scheme.name;
    this.other = scheme.other ?? "OTHER";
    this.all = scheme.classes;
  }

  /** The class of a code; reads `all`, so that a template asks again once classes are there. */
  find(code: string): CellClass | undefined {
    return this.all.length ? this.#byCode.get(code) : undefined;
  }

  title(code: string): string {
    return this.find(code)?.name ?? code;
  }

  colour(code: string): string {
    return this.find(code)?.colour ?? "#000000";
  }

  /** Black or white, whichever stands out more from the colour of a class. */
  ink(code: string): string {
    return inkOn(this.colour(code));
  }
}

export const classes = new Classes();
