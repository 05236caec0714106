import { svelte } from "@sveltejs/vite-plugin-svelte";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// While developing, `npm run dev` passes everything under /api to a station that runs on this machine.
const station = process.env.MARROWSCOPE_STATION ?? "http://127.0.0.1:8420";

export default defineConfig({
  plugins: [svelte()],
  base: "/",
  resolve: {
    alias: { $lib: fileURLToPath(new URL("./src/lib", import.meta.url)) },
    // Under vitest Svelte would otherwise resolve to its server half.
    conditions: process.env.VITEST ? ["browser"] : undefined,
  },
  build: {
    outDir: "../src/marrowscope/web/static",
    emptyOutDir: true,
    target: "es2022",
    // Fonts and pictures stay files: a strict content security policy then needs no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
  },
  server: { proxy: { "/api": { target: station, ws: true, changeOrigin: true } } },
  preview: { proxy: { "/api": { target: station, ws: true, changeOrigin: true } } },
  test: { environment: "happy-dom", include: ["src/**/*.test.ts"] },
});
