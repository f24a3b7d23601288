// The payloads of the AsyncAPI document as TypeScript.

const HEAD = `\
// The payloads of the FX Gateway's events, made from its AsyncAPI document.
//
// With socket.io-client: \`const socket: Socket<ServerEvents, ClientEvents> = io(url)\`.
`;

/** A module of types: every schema, and the events of each side by name. */
export function eventTypes(document) {
  const { schemas, messages } = document.components;
  const types = Object.entries(schemas).map(([name, schema]) => declaration(name, schema));
  return [HEAD, ...types, ...sides(document, messages)].join("\n");
}

function declaration(name, schema) {
  const body = schema.properties ? `export interface ${name} ${members(schema, "")}` : `export type ${name} = ${type(schema)};`;
  return `${comment(schema.description, "")}${body}\n`;
}

/** The events of Socket.IO in the form of its own types, those of event streams, and the messages of plain websockets. */
function sides(document, messages) {
  const payload = (name) => (messages[name].payload ? type(messages[name].payload) : null);
  const of = (action, channel) =>
    Object.values(document.operations).filter((each) => each.action === action && last(each.channel.$ref) === channel);
  const received = of("receive", "socketio").map((each) => {
    const name = last(each.messages[0].$ref);
    const [answer, error] = each.reply.messages.map((message) => payload(last(message.$ref)));
    const given = payload(name) ? `payload: ${payload(name)}, ` : "";
    return member(messages[name].summary, `${name}: (${given}acknowledge?: (answer: ${answer} | ${error}) => void) => void;`);
  });
  const all = of("send", "socketio").map((each) => last(each.messages[0].$ref));
  const sent = all.filter((name) => messages[name].name === name);
  const others = all.filter((name) => messages[name].name !== name);
  const isBare = (name) => payload(name) && !document.components.schemas[payload(name)].properties;
  const plain = (action) =>
    of(action, "plain")
      .map((each) => last(each.messages[0].$ref))
      .filter((name) => !isBare(name))
      .map((name) => {
        const [id, data] = [action === "send" ? "id?: string; " : "", payload(name)];
        return `  | { type: ${JSON.stringify(messages[name].name)}; ${id}${data ? `data: ${data}` : "data?: null"} }`;
      });
  const bare = of("send", "plain")
    .map((each) => last(each.messages[0].$ref))
    .filter(isBare);
  const streamed = of("send", "stream_pairs").flatMap((each) => each.messages.map((message) => last(message.$ref)));
  return [
    block(
      "Events that the gateway sends over Socket.IO, by name.",
      "ServerEvents",
      sent.map((name) => member(messages[name].summary, `${name}: (payload: ${payload(name)}) => void;`)),
    ),
    ...others.map((name) => variant(messages[name], payload(name))),
    block("Events that a client sends over Socket.IO, by name.", "ClientEvents", received),
    block(
      "Events of event streams, by name; the data is the payload as JSON.",
      "StreamEvents",
      streamed.map((name) => member(messages[name].summary, `${messages[name].name}: ${payload(name)};`)),
    ),
    union("Messages that the gateway sends over a plain websocket, told apart by `type`.", "PlainMessage", plain("send")),
    union("The same where `format` is `compact`: a price is the array alone.", "CompactPlainMessage", [
      "  | PlainMessage",
      ...bare.map((name) => `  | ${payload(name)}`),
    ]),
    union("Messages that a client sends over a plain websocket, told apart by `type`.", "PlainRequest", plain("receive")),
  ];
}

/** The events of Socket.IO with one of them in another form. */
function variant({ name, summary }, payload) {
  const other = `CompactServerEvents = Omit<ServerEvents, "${name}"> & { ${name}: (payload: ${payload}) => void }`;
  return `${comment(`Events that the gateway sends over Socket.IO. ${summary}.`, "")}export type ${other};\n`;
}

function block(description, name, lines) {
  return `/** ${description} */\nexport interface ${name} {\n${lines.join("\n")}\n}\n`;
}

function union(description, name, lines) {
  return `/** ${description} */\nexport type ${name} =\n${lines.join("\n")};\n`;
}

function member(description, text) {
  return `${comment(description, "  ")}  ${text}`;
}

/** A schema as a type. Throws on anything unknown. */
export function type(schema, indent = "") {
  if (schema.$ref) return last(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return [...new Set(either.map((each) => type(each, indent)))].join(" | ");
  switch (schema.type) {
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "integer":
    case "number":
      return "number";
    case "array": {
      if (Array.isArray(schema.items)) return `[${schema.items.map((each) => type(each, indent)).join(", ")}]`;
      const items = type(schema.items, indent);
      return items.includes(" | ") ? `(${items})[]` : `${items}[]`;
    }
    case "object":
      return schema.properties ? members(schema, indent) : `Record<string, ${type(values(schema), indent)}>`;
  }
  throw new Error(`no type for ${JSON.stringify(schema)}`);
}

/** The schema of the values of a map. */
export function values(schema) {
  const [found] = Object.values(schema.patternProperties ?? {});
  return found ?? schema.additionalProperties;
}

function members(schema, indent) {
  const required = new Set(schema.required);
  const lines = Object.entries(schema.properties).map(([name, inner]) => {
    const mark = required.has(name) ? "" : "?";
    return `${comment(inner.description, `${indent}  `)}${indent}  ${name}${mark}: ${type(inner, `${indent}  `)};`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

function comment(text, indent) {
  return text ? `${indent}/** ${text.trim().replaceAll(/\s+/g, " ").replaceAll("*/", "* /")} */\n` : "";
}

/** The name at the end of a reference. */
export function last(reference) {
  return reference.split("/").at(-1);
}
