import { defineConfig } from "vite";

// The notebook's widgets: one module under a fixed name, beside the page and after it.
export default defineConfig({
  publicDir: false,
  build: {
    outDir: "../static",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rolldownOptions: {
      input: "src/widget.ts",
      preserveEntrySignatures: "strict",
      output: { format: "es", entryFileNames: "widget.js" },
    },
  },
});
