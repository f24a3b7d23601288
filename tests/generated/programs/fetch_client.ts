// Every operation by the client of openapi-typescript and openapi-fetch.

import createClient from "openapi-fetch";

import { assert, noted, refused, tell, told, token, unnamed, url, type Call } from "./checking.js";
import type { components, paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: url, fetch: noted });
const headers = { Authorization: `Bearer ${token}` };
const nowhere = "0".repeat(32);

const all = told(await client.GET("/api/v1/prices/all"));
assert.equal(all.pair_count, 4);
const listed: components["schemas"]["ListedPrice"] | undefined = all.prices["EUR_USD"];
assert.equal(listed?.bid, "1.10000");
const price = told(await client.GET("/api/v1/prices/current", { params: { query: { instrument: "EUR_USD" } } }));
assert.equal(price.price.ask, "1.20000");
refused(await client.GET("/api/v1/prices/current", { params: { query: { instrument: "XXX_YYY" } } }), 400, "invalid-pair");

const eur = { path: { instrument: "EUR_USD" } };
const bars = told(await client.GET("/api/v1/candles/{instrument}", { params: { ...eur, query: { granularity: "H1", limit: 3 } } }));
assert.equal(bars.candles.length, 3);
assert.match(bars.candles[0]?.mid?.c ?? "", /^\d+\.\d{5,6}$/);
refused(await client.GET("/api/v1/candles/{instrument}", { params: { ...eur, query: { limit: 0 } } }), 400, "invalid-request");

const several = told(await client.GET("/api/v1/candles", { params: { query: { pairs: "EUR_USD,GBP_USD", limit: 2 } } }));
assert.deepEqual(
  several.pairs.map(({ count }) => count),
  [2, 2],
);
const ticks = told(await client.GET("/api/v1/ticks", { params: { query: { pairs: "*", limit: 2 } } }));
assert.ok(ticks.ticks.every(({ spread }) => Number(spread) === 0.1));
assert.ok(told(await client.GET("/api/v1/calendar")).trading_days.length > 0);
const history = told(await client.GET("/api/v1/metrics/history/{instrument}", { params: { ...eur, query: { limit: 2 } } }));
assert.equal(history.count, 2);

refused(await client.GET("/api/v1/candles", { params: { query: { pairs: "XXX_YYY" } } }), 400, "invalid-pair");
refused(await client.GET("/api/v1/ticks", { params: { query: { pairs: "*", since: "soon" } } }), 400, "invalid-cursor");
refused(await client.GET("/api/v1/calendar", { params: { query: { start_time: "x" } } }), 400, "invalid-request");
refused(
  await client.GET("/api/v1/metrics/history/{instrument}", { params: { ...eur, query: { limit: 0 } } }),
  400,
  "invalid-request",
);

const measured = told(await client.GET("/api/v1/metrics/volatility/{instrument}", { params: eur }));
assert.equal(measured.instrument, "EUR_USD");
refused(
  await client.GET("/api/v1/metrics/volatility/{instrument}", { params: { path: { instrument: "XXX_YYY" } } }),
  400,
  "invalid-pair",
);
assert.ok(told(await client.GET("/api/v1/metrics/volatility")).metrics["EUR_USD"]);

const matrix = told(await client.GET("/api/v1/correlation/matrix"));
assert.equal(matrix.matrix["EUR_USD"]?.["EUR_USD"], 1);
refused(await client.GET("/api/v1/correlation/matrix", { params: { query: { window: 0 } } }), 400, "invalid-request");
const two = { pair1: "EUR_USD", pair2: "GBP_USD" };
const pair = told(await client.GET("/api/v1/correlation/pairs", { params: { query: two } }));
assert.equal(pair.pair2, "GBP_USD");
refused(await client.GET("/api/v1/correlation/pairs", { params: { query: { ...two, pair2: "XXX_YYY" } } }), 400, "invalid-pair");
const rolling = told(await client.GET("/api/v1/correlation/rolling", { params: { query: { ...two, limit: 2 } } }));
assert.equal(rolling.correlations.length, 2);
refused(await client.GET("/api/v1/correlation/rolling", { params: { query: { ...two, window: 1 } } }), 400, "invalid-request");
const best = told(await client.GET("/api/v1/best-pairs"));
assert.ok(best.pairs.every(({ rank }) => rank >= 1));

const alerts = told(await client.GET("/api/v1/alerts", { params: { query: { severity: ["warning"], limit: 5 } } }));
assert.ok(alerts.alerts.some((alert) => alert.type === "price_alert" && alert.level === "1.50000"));
refused(await client.GET("/api/v1/alerts", { params: { query: { limit: 0 } } }), 400, "invalid-request");

const level = told(
  await client.POST("/api/v1/alerts/levels", {
    headers,
    body: { instrument: "GBP_USD", direction: "below", level: "0.50000", message: "low" },
  }),
);
assert.equal(level.level, "0.50000");
refused(
  await client.POST("/api/v1/alerts/levels", { headers, body: { instrument: "GBP_USD", direction: "below", level: "0.500001" } }),
  422,
  "invalid-body",
);
assert.ok(told(await client.GET("/api/v1/alerts/levels")).levels.some(({ id }) => id === level.id));
refused(await client.GET("/api/v1/alerts/levels", { params: { query: { pair: "XXX_YYY" } } }), 400, "invalid-pair");
const known = { path: { id: level.id } };
assert.equal(told(await client.GET("/api/v1/alerts/levels/{id}", { params: known })).message, "low");
refused(await client.GET("/api/v1/alerts/levels/{id}", { params: { path: { id: nowhere } } }), 404, "not-found");
assert.equal((await client.DELETE("/api/v1/alerts/levels/{id}", { params: known, headers })).response.status, 204);
refused(await client.DELETE("/api/v1/alerts/levels/{id}", { params: known, headers }), 404, "not-found");

const page = told(await client.GET("/api/v1/events", { params: { query: { types: "price_update", limit: 2 } } }));
assert.equal(page.events.length, 2);
for (const { type, data } of page.events) assert.ok(type === "price_update" && "source" in data && "price" in data);
refused(await client.GET("/api/v1/events", { params: { query: { since: "soon" } } }), 400, "invalid-cursor");
const body = [{ type: "data_ready" as const, data: { data_type: "candles" as const, count: 3 } }];
assert.equal(told(await client.POST("/api/v1/events", { headers, body })).ids.length, 1);
refused(await client.POST("/api/v1/events", { body }), 401, "unauthorized");

await heard(await client.GET("/stream", { params: { query: { pairs: "EUR_USD,GBP_USD" } }, parseAs: "stream" }));
refused(await client.GET("/stream", { params: { query: { pairs: "XXX_YYY" } } }), 400, "invalid-pair");
await heard(await client.GET("/stream/{pair}", { params: { path: { pair: "EUR_USD" } }, parseAs: "stream" }));
refused(await client.GET("/stream/{pair}", { params: { path: { pair: "XXX_YYY" } } }), 400, "invalid-pair");

assert.ok(told(await client.GET("/api/v1/sessions")).sessions.length > 0);
assert.ok(told(await client.GET("/api/v1/jobs")).runs.length > 0);
refused(await client.GET("/api/v1/jobs", { params: { query: { limit: 0 } } }), 400, "invalid-request");
const state = told(await client.GET("/admin/state", { headers }));
assert.equal(state.gateway.workers[0]?.worker, 1);
refused(await client.GET("/admin/state"), 401, "unauthorized");
assert.equal(told(await client.GET("/health")).status, "healthy");
assert.equal(told(await client.GET("/health/live")).status, "alive");
assert.equal(told(await client.GET("/health/ready")).status, "ready");
for (const { path, given } of unnamed) {
  const get = client.GET as unknown as (path: string, options: object) => ReturnType<Call<object>>;
  assert.ok(told(await get(path, { params: given })));
}
tell();

/** Fails unless a stream begins as one does; then lets go of it. */
async function heard(answer: { data?: ReadableStream<Uint8Array<ArrayBuffer>> | null | undefined; error?: unknown }): Promise<void> {
  const reader = told({ ...answer, response: new Response() }).pipeThrough(new TextDecoderStream()).getReader();
  let read = "";
  while (!read.includes("event: stream_opened")) {
    const { value, done } = await reader.read();
    assert.ok(!done, read);
    read += value;
  }
  await reader.cancel();
}
