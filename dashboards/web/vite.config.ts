import { defineConfig } from "vite";

// Relative addresses only: the page works under any prefix. One script and one style, no maps: they ship in the wheel.
export default defineConfig({
  base: "./",
  publicDir: "public",
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
  },
});
