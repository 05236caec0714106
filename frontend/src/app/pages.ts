/** Which component shows which address. Each is a file of its own, fetched when first visited. */
import type { Pages } from "$lib/router.svelte";

export const pages: Pages = {
  "/": () => import("../pages/home/Home.svelte"),
  "/live": () => import("../pages/live/Live.svelte"),
  "/cases": () => import("../pages/cases/Cases.svelte"),
  "/cases/:id": () => import("../pages/cases/Case.svelte"),
  "/cases/:id/review": () => import("../pages/review/Review.svelte"),
  "/cases/:id/report": () => import("../pages/report/Report.svelte"),
  "/admin": () => import("../pages/admin/Admin.svelte"),
  "/eyepiece": () => import("../pages/eyepiece/Eyepiece.svelte"),
  "/login": () => import("../pages/login/Login.svelte"),
  "/setup": () => import("../pages/setup/Setup.svelte"),
};
