// Prints what the AsyncAPI parser finds in a document, as a JSON list of severity (0 an error, 1 a warning), code and message.
//
//   node diagnose.mjs FILE

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const found = diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path: path.join(".") }));
console.log(JSON.stringify({ channels: document?.channels().length ?? 0, found }));
