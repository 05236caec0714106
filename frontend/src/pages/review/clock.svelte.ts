/** Counts what a review costs while the component that calls this is shown, and posts it to the station. */

import { csrf } from "$lib/api";
import { session } from "$lib/session.svelte";
import { onMount } from "svelte";
import { EffortCounter, type Effort } from "./effort";
import { isTyping } from "./keys";

const EVERY_MS = 30_000;

export class ReviewClock {
  /** Of this sitting, as the page shows it. */
  keystrokes = $state(0);
  seconds = $state(0);
}

/** `within`: the gallery and the canvas; clicks elsewhere do not count. */
export function useClock(specimenId: number, within: () => HTMLElement | undefined): ReviewClock {
  const clock = new ReviewClock();

  onMount(() => {
    const counter = new EffortCounter(performance.now(), document.visibilityState === "visible");
    let sentSeconds = 0;
    let alive = 0;

    async function send(leaving = false): Promise<void> {
      const effort = counter.take(performance.now());
      if (!effort || !session.works) return;
      sentSeconds += effort.seconds;
      try {
        await post(effort, leaving);
      } catch {
        counter.giveBack(effort);
        sentSeconds -= effort.seconds;
      }
    }

    async function post(effort: Effort, leaving: boolean): Promise<void> {
      const answer = await fetch(`/api/specimens/${specimenId}/effort`, {
        method: "POST",
        keepalive: leaving,
        headers: { "Content-Type": "application/json", ...csrf() },
        body: JSON.stringify(effort),
      });
      // Refused for good (signed out, signed report): counting it again would not help.
      if (answer.status >= 500) throw new Error(String(answer.status));
    }

    const onKey = (event: KeyboardEvent) => {
      if (isTyping(event.target) || (event.target as Element | null)?.closest?.("dialog")) return;
      counter.key(performance.now(), event.repeat);
      if (!event.repeat) clock.keystrokes += 1;
    };
    const onClick = (event: PointerEvent) => {
      if (within()?.contains(event.target as Node)) counter.click(performance.now());
    };
    const onAlive = () => {
      // The mouse speaks a hundred times a second; once is enough.
      const now = performance.now();
      if (now - alive > 1000) counter.alive((alive = now));
    };
    const onVisible = () => {
      counter.visible(performance.now(), document.visibilityState === "visible");
      if (document.visibilityState === "hidden") void send(true);
    };
    const onLeave = () => void send(true);

    addEventListener("keydown", onKey, true);
    addEventListener("pointerdown", onClick, true);
    addEventListener("pointermove", onAlive, { passive: true });
    addEventListener("wheel", onAlive, { passive: true });
    document.addEventListener("visibilitychange", onVisible);
    addEventListener("pagehide", onLeave);
    const sending = setInterval(() => void send(), EVERY_MS);
    const showing = setInterval(() => (clock.seconds = sentSeconds + counter.seconds(performance.now())), 1000);

    return () => {
      removeEventListener("keydown", onKey, true);
      removeEventListener("pointerdown", onClick, true);
      removeEventListener("pointermove", onAlive);
      removeEventListener("wheel", onAlive);
      document.removeEventListener("visibilitychange", onVisible);
      removeEventListener("pagehide", onLeave);
      clearInterval(sending);
      clearInterval(showing);
      void send(true);
    };
  });

  return clock;
}
