// Builds app/pages/ from these sources: bundled, minified, named by a hash of their contents, and compressed.
//
//   node web/build.mjs [FOLDER]
//
// Assets have a hash in their name, so that browsers may cache them forever. URLs are relative to the page, so that a proxy may
// serve everything under a prefix of its own.

import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { logEvents } from "./log_events.mjs";
import { referencePages } from "./reference/pages.mjs";

const here = import.meta.dirname;
const out = process.argv[2] ?? join(here, "..", "app", "pages");
const unfinished = `${out}.new`;

await rm(unfinished, { recursive: true, force: true });
await mkdir(unfinished, { recursive: true });

const { outputFiles } = await build({
  absWorkingDir: here,
  // The theme is a separate script, because it runs before the first paint.
  entryPoints: ["src/main.js", "src/theme.js", "src/admin/admin.js"],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  define: { "globalThis.LOG_EVENTS": JSON.stringify(await logEvents()) },
  legalComments: "eof",
  logLevel: "warning",
  write: false,
});
const names = new Map();
for (const { path, contents } of outputFiles) names.set(basename(path), await putHashed(path, contents));

for (const name of ["index.html", "admin.html"]) {
  const page = await readFile(join(here, name), "utf8");
  await put(
    name,
    page.replace(/"assets\/([^"]+)"/g, (_, asset) => {
      if (!names.has(asset)) throw new Error(`${name} names ${asset}, which is not built`);
      return `"assets/${names.get(asset)}"`;
    }),
  );
}
for (const [name, content] of Object.entries(await referencePages(putHashed))) await put(name, content);

await rm(out, { recursive: true, force: true });
await rename(unfinished, out);

/** Writes an asset into the folder and returns its hashed name. */
async function putHashed(path, content) {
  const end = extname(path);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 12);
  const name = `${basename(path, end)}-${hash}${end}`;
  await put(name, content);
  return name;
}

async function put(name, content) {
  await writeFile(join(unfinished, name), content);
  await writeFile(join(unfinished, `${name}.gz`), gzipSync(content, { level: constants.Z_BEST_COMPRESSION }));
}
