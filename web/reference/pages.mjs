// The reference pages and the documents behind them.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import yaml from "js-yaml";
import { eventPage } from "./events.mjs";
import { page } from "./page.mjs";
import { eventTypes } from "./types.mjs";

const here = import.meta.dirname;
const MODULES = join(here, "..", "node_modules");
// Redoc's logo would be loaded from another host.
const MARK_OF_REDOC = "https://cdn.redoc.ly/redoc/logo-mini.svg";

/**
 * Pages and documents as text, by file name.
 * @param {(path: string, content: string) => Promise<string>} putHashed writes an asset and returns its name
 */
export async function referencePages(putHashed) {
  const asset = async (path, change = (text) => text) => putHashed(path, change(await readFile(path, "utf8")));
  const styles = await asset(join(here, "page.css"));
  const swaggerStyles = await asset(join(MODULES, "swagger-ui-dist/swagger-ui.css"));
  const swagger = await asset(join(MODULES, "swagger-ui-dist/swagger-ui-bundle.js"));
  const swaggerStart = await asset(join(here, "swagger.js"));
  const redoc = await asset(join(MODULES, "redoc/bundles/redoc.standalone.js"), withoutMark);
  const redocStart = await asset(join(here, "redoc.js"));
  const source = await readFile(join(here, "..", "..", "openapi", "asyncapi.yaml"), "utf8");
  const asyncapi = yaml.load(source);
  const rest = '<main id="rest" class="wide"></main>';
  return {
    "asyncapi.yaml": source,
    "events.d.ts": eventTypes(asyncapi),
    "docs.html": page({
      title: "REST (Swagger UI)",
      current: "/docs",
      styles: [swaggerStyles, styles],
      scripts: [swagger, swaggerStart],
      body: rest,
    }),
    "redoc.html": page({ title: "REST (Redoc)", current: "/redoc", styles: [styles], scripts: [redoc, redocStart], body: rest }),
    "events.html": page({ title: "Events", current: "/docs/events", styles: [styles], scripts: [], body: eventPage(asyncapi) }),
  };
}

function withoutMark(text) {
  if (!text.includes(MARK_OF_REDOC)) throw new Error(`${MARK_OF_REDOC} is not there to be replaced`);
  return text.replaceAll(MARK_OF_REDOC, "data:,");
}
