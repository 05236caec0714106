/** Whether the newest kept fields look like those that the model learned; asked now and then, while a page shows it. */
import { api, ask } from "./api";
import type { DriftOutlook } from "./types";

export const EVERY_MS = 30_000;

export class DriftWatch {
  /** null: not known yet. */
  outlook = $state.raw<DriftOutlook | null>(null);

  /** Begin to ask; the return ends it. */
  watch(): () => void {
    void this.refresh();
    const timer = setInterval(() => {
      if (!document.hidden) void this.refresh();
    }, EVERY_MS);
    return () => clearInterval(timer);
  }

  async refresh(): Promise<void> {
    // What else fails is told where it fails; the last answer stands.
    this.outlook = await ask(api.GET("/api/drift")).catch(() => this.outlook);
  }
}

/** Three digits, as a table shows them. */
export const digits = (value: number): string => String(Number(value.toPrecision(3))).replace("-", "−");
