// Writes other.d.ts, the payloads by json-schema-to-typescript, and comparison.ts, which compiles where they are those of events.d.ts.
//
//   node compare_types.mjs ASYNCAPI

import { readFileSync, writeFileSync } from "node:fs";
import yaml from "js-yaml";
import { compile } from "json-schema-to-typescript";

const { schemas } = yaml.load(readFileSync(process.argv[2], "utf8")).components;
const text = JSON.stringify(schemas).replaceAll("#/components/schemas/", "#/$defs/");
const $defs = JSON.parse(text, (key, value) => {
  if (key === "properties") for (const member of Object.values(value)) delete member.title;
  return value;
});
const names = Object.keys($defs);
const every = { $defs, title: "Every", type: "object", additionalProperties: false, required: names,
  properties: Object.fromEntries(names.map((name) => [name, { $ref: `#/$defs/${name}` }])) };
writeFileSync("other.d.ts", await compile(every, "Every", { additionalProperties: false, bannerComment: "" }));
writeFileSync("comparison.ts", [
  'import type * as ours from "./events.d.ts";',
  'import type { Every } from "./other.d.ts";',
  ...names.map((name) => `export const to${name} = (value: Every["${name}"]): ours.${name} => value;`),
  ...names.map((name) => `export const from${name} = (value: ours.${name}): Every["${name}"] => value;`),
].join("\n"));
