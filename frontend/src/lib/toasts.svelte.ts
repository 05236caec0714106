/** Short messages at the foot of the page. Errors stay until they are closed. */
import { ApiError } from "./api";

export type Tone = "info" | "good" | "warn" | "bad";
export interface Toast {
  id: number;
  tone: Tone;
  text: string;
}

class Toasts {
  list = $state<Toast[]>([]);
  #next = 1;

  say(text: string, tone: Tone = "info", ms = tone === "bad" ? 12000 : 4000): void {
    const id = this.#next++;
    // The same words twice are one message.
    this.list = [...this.list.filter((t) => t.text !== text), { id, tone, text }].slice(-4);
    if (ms) setTimeout(() => this.close(id), ms);
  }

  close(id: number): void {
    this.list = this.list.filter((t) => t.id !== id);
  }
}

export const toasts = new Toasts();
export const say = (text: string, tone?: Tone, ms?: number): void => toasts.say(text, tone, ms);

/** What went wrong, in words. */
export function words(problem: unknown): string {
  if (problem instanceof ApiError) return problem.message;
  if (problem instanceof TypeError) return "The station does not answer. Is it still running?";
  return problem instanceof Error ? problem.message : String(problem);
}

/** Show an error as a toast; for `catch (problem) { complain(problem) }`. */
export const complain = (problem: unknown): void => toasts.say(words(problem), "bad");
