// The AsyncAPI document as an HTML page.

import { marked } from "marked";
import { escaped } from "./page.mjs";
import { last, values } from "./types.mjs";

const CHANNELS = {
  socketio: "Socket.IO",
  stream_pairs: "Event stream of several pairs",
  stream_pair: "Event stream of one pair",
  plain: "Plain websocket",
};

/** The body of the page as HTML. */
export function eventPage(document) {
  const { components, channels, operations, info } = document;
  const spoken = Object.entries(components.messages).filter(([, message]) => message.payload || message.headers || message.name);
  const sent = new Set();
  for (const { action, messages } of Object.values(operations)) {
    if (action === "send") for (const { $ref } of messages) sent.add(last($ref));
  }
  const replies = Object.values(operations).flatMap(({ reply }) => (reply ? reply.messages.map(({ $ref }) => last($ref)) : []));
  const asked = spoken.filter(([name]) => !sent.has(name) && !replies.includes(name));
  const errors = spoken.filter(([, message]) => message.payload && last(message.payload.$ref) === "Problem");
  const told = spoken.filter((entry) => !asked.includes(entry) && !errors.includes(entry));
  const shown = new Set(spoken.filter(([, { payload }]) => payload).map(([, { payload }]) => last(payload.$ref)));
  const parts = Object.entries(components.schemas).filter(([name]) => !shown.has(name));
  const groups = [
    [
      "Requests",
      "Sent by clients. A request is answered by an event and, over Socket.IO, by an acknowledgement if the client asks for one.",
      asked,
    ],
    ["Events", "Sent by the gateway: events of the log, and answers to requests.", told],
    ["Errors", "Sent by the gateway when it refuses a request. All have the same payload.", errors],
  ];
  return `<div class="columns">
<nav class="contents" aria-label="On this page">
<ul><li><a href="#about">About</a></li></ul>
<h2>Channels</h2><ul>${Object.keys(CHANNELS)
    .map((name) => `<li><a href="#${name}">${CHANNELS[name]}</a></li>`)
    .join("")}</ul>
${groups.map(([title, , entries]) => `<h2>${title}</h2><ul>${entries.map(([name]) => `<li>${link(name)}</li>`).join("")}</ul>`).join("\n")}
<h2>Types</h2><ul>${parts.map(([name]) => `<li>${link(name)}</li>`).join("")}</ul>
</nav>
<main class="text">
<section id="about"><h1>Events of the ${escaped(info.title)}</h1>
<p class="quiet">Version ${escaped(info.version)}. This page is made from the <a href="asyncapi.yaml">AsyncAPI document</a>;
the same payloads as <a href="events.d.ts">TypeScript types</a>. The REST interface is at <a href="../docs">/docs</a>.</p>
${marked.parse(info.description)}</section>
${Object.keys(CHANNELS)
  .map((name) => channel(name, channels[name], document))
  .join("\n")}
${groups
  .map(
    ([title, text, entries]) => `<section id="${title.toLowerCase()}"><h2>${title}</h2><p>${text}</p>
${entries.map(([name, message]) => entry(name, message, document)).join("\n")}</section>`,
  )
  .join("\n")}
<section id="types"><h2>Types</h2><p>What payloads are made of.</p>
${parts.map(([name, schema]) => `<article id="${name}"><h3><code>${name}</code></h3>${schemaText(schema, document)}</article>`).join("\n")}
</section>
</main>
</div>`;
}

function channel(name, { address, description, servers, parameters, bindings }, document) {
  const operations = Object.values(document.operations).filter((each) => last(each.channel.$ref) === name);
  const hosts = servers.map(({ $ref }) => document.servers[last($ref)]);
  const query = operations.map((each) => each.bindings?.http?.query).find(Boolean) ?? bindings?.ws?.query;
  const rows = [
    ...Object.entries(parameters ?? {}).map(([key, value]) => [key, "path", { type: "string", ...value }, true]),
    ...Object.entries(query?.properties ?? {}).map(([key, value]) => [key, "query", value, (query.required ?? []).includes(key)]),
  ];
  const asks = operations.filter((each) => each.action === "receive");
  const gets = operations.filter((each) => each.action === "send").flatMap((each) => each.messages.map(({ $ref }) => last($ref)));
  return `<section id="${name}"><h2>${CHANNELS[name]}</h2>
<p class="address">${hosts.map(({ protocol, host }) => `<code>${escaped(protocol)}://${escaped(host)}${escaped(address)}</code>`).join(" or ")}</p>
${marked.parse(description)}
${
  rows.length
    ? `<h3>Parameters</h3>${table(
        ["Parameter", "In", "Type", "Meaning"],
        rows.map(([key, place, schema, required]) => [
          `<code>${escaped(key)}</code>${required ? ' <span class="must">required</span>' : ""}`,
          place,
          typeText(schema),
          meaning(schema),
        ]),
      )}`
    : ""
}
<h3>What a client asks</h3>
${table(
  ["Request", "Answered by", "Refused by", "What it does"],
  asks.map((each) => [`${link(last(each.messages[0].$ref))}`, ...replies(each), inline(each.description)]),
)}
<h3>What the gateway sends</h3>
<ul class="events">${gets.map((each) => `<li>${link(each)} ${inline(document.components.messages[each].summary)}</li>`).join("")}</ul>
</section>`;
}

function replies({ reply }) {
  const [answer, error] = reply.messages.map(({ $ref }) => link(last($ref)));
  return [answer, error];
}

function entry(name, { summary, payload, headers, examples }, document) {
  const shown = (examples ?? []).map(
    ({ name: title, payload: body }) =>
      `<figure><figcaption>${escaped(title.replaceAll("_", " "))}</figcaption><pre tabindex="0"><code>${escaped(JSON.stringify(body, null, 2))}</code></pre></figure>`,
  );
  const body = payload ? schemaText(document.components.schemas[last(payload.$ref)], document, summary) : "";
  const sent = headers ? `<h4>Headers</h4>${members(headers)}` : "";
  return `<article id="${name}"><h3><code>${name}</code></h3><p>${inline(summary)}.</p>${sent}
<div class="payload"><div>${body || (headers ? "" : '<p class="quiet">It has no payload.</p>')}</div><div>${shown.join("")}</div></div></article>`;
}

function schemaText(schema, document, said) {
  const text = schema.description && !same(schema.description, said) ? `<p>${inline(schema.description)}</p>` : "";
  return schema.properties ? text + members(schema) : `${text}<p>${typeText(schema)}</p>`;
}

function same(one, other) {
  return one.replace(/\.$/, "") === other?.replace(/\.$/, "");
}

function members(schema) {
  const required = new Set(schema.required);
  return table(
    ["Member", "Type", "Meaning"],
    Object.entries(schema.properties).map(([name, inner]) => [
      `<code>${escaped(name)}</code>${required.has(name) ? "" : ' <span class="may">may be missing</span>'}`,
      typeText(inner),
      meaning(inner),
    ]),
  );
}

function meaning(schema) {
  const bounds = [
    ["minimum", "at least"],
    ["exclusiveMinimum", "more than"],
    ["maximum", "at most"],
    ["exclusiveMaximum", "less than"],
  ].flatMap(([key, words]) => {
    const found = [schema, ...(schema.anyOf ?? [])].find((each) => key in each);
    return found ? [`${words} ${found[key]}`] : [];
  });
  const example = schema.examples?.[0] ?? schema.anyOf?.find((each) => each.examples)?.examples[0];
  const said = schema.description ?? schema.anyOf?.find((each) => each.description)?.description;
  const parts = [said ? inline(said) : "", bounds.length ? `<span class="quiet">${bounds.join(", ")}</span>` : ""];
  if (schema.default !== undefined && schema.default !== null)
    parts.push(`<span class="quiet">default <code>${escaped(JSON.stringify(schema.default))}</code></span>`);
  if (example !== undefined)
    parts.push(
      `<span class="quiet">e.g. <code>${escaped(typeof example === "string" ? example : JSON.stringify(example))}</code></span>`,
    );
  return parts.filter(Boolean).join("; ");
}

/** The type of a value in words, with links to its parts. */
function typeText(schema) {
  if (schema.$ref) return link(last(schema.$ref));
  if ("const" in schema) return `<code>${escaped(JSON.stringify(schema.const))}</code>`;
  if (schema.enum) return schema.enum.map((value) => `<code>${escaped(value)}</code>`).join(" or ");
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeText))].join(" or ");
  if (Array.isArray(schema.items)) return `[${schema.items.map(typeText).join(", ")}]`;
  if (schema.type === "array") return `list of ${typeText(schema.items)}`;
  if (schema.type === "object" && !schema.properties) return `map by name of ${typeText(values(schema))}`;
  return escaped(schema.type);
}

function table(heads, rows) {
  const cells = (row) => row.map((cell) => `<td>${cell}</td>`).join("");
  return `<div class="table"><table><thead><tr>${heads.map((head) => `<th scope="col">${head}</th>`).join("")}</tr></thead>
<tbody>${rows.map((row) => `<tr>${cells(row)}</tr>`).join("\n")}</tbody></table></div>`;
}

function link(name) {
  return `<a href="#${name}"><code>${name}</code></a>`;
}

function inline(text) {
  return marked.parseInline(text.trim());
}
