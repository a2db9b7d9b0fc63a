// Says beside the built page which sources it was built from; tests/unit/test_page_build.py compares, without Node.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

const here = import.meta.dirname;
const inputs = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "vite.widget.config.ts", "src", "public"];

function* files(path) {
  if (!statSync(path).isDirectory()) yield path;
  else for (const name of readdirSync(path)) yield* files(join(path, name));
}

function digest(root, paths) {
  const names = paths.map((path) => relative(root, path).split("\\").join("/")).sort();
  const hash = createHash("sha256");
  for (const name of names) {
    const content = readFileSync(join(root, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return `sha256:${hash.digest("hex")}`;
}

const out = join(here, "..", "static");
const built = [...files(out)].filter((path) => !path.endsWith("manifest.json"));
const manifest = {
  source: digest(here, inputs.flatMap((name) => [...files(join(here, name))])),
  built: digest(out, built),
};
writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 2) + "\n");
