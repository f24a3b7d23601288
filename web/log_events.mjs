// The events of the log, by name, as the AsyncAPI document has them.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import yaml from "js-yaml";

/** The names of the events that reach clients over every transport. */
export async function logEvents() {
  const source = await readFile(join(import.meta.dirname, "..", "openapi", "asyncapi.yaml"), "utf8");
  const { channels, components } = yaml.load(source);
  // Socket.IO and the streams share the events of the log, and beside them only a refusal.
  return Object.keys(channels.stream_pairs.messages).filter(
    (name) => name in channels.socketio.messages && !components.messages[name].payload.$ref.endsWith("/Problem"),
  );
}
