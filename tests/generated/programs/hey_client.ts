// Every operation by the client of hey-api.

import { assert, noted, refused, tell, told, token, unnamed, url, type Call } from "./checking.js";
import { client } from "./hey/client.gen.js";
import * as gateway from "./hey/index.js";

client.setConfig({ baseUrl: url, fetch: noted, auth: token });
const nowhere = "0".repeat(32);

const all = told(await gateway.getAllPrices());
assert.equal(all.pair_count, 4);
const listed: gateway.ListedPrice | undefined = all.prices["EUR_USD"];
assert.equal(listed?.bid, "1.10000");
const price = told(await gateway.getCurrentPrice({ query: { instrument: "EUR_USD" } }));
assert.equal(price.price.ask, "1.20000");
refused(await gateway.getCurrentPrice({ query: { instrument: "XXX_YYY" } }), 400, "invalid-pair");

const eur = { instrument: "EUR_USD" };
const bars = told(await gateway.getCandles({ path: eur, query: { granularity: "H1", limit: 3 } }));
assert.equal(bars.candles.length, 3);
assert.match(bars.candles[0]?.mid?.c ?? "", /^\d+\.\d{5,6}$/);
refused(await gateway.getCandles({ path: eur, query: { limit: 0 } }), 400, "invalid-request");

assert.equal(told(await gateway.getVolatility({ path: eur })).instrument, "EUR_USD");
refused(await gateway.getVolatility({ path: { instrument: "XXX_YYY" } }), 400, "invalid-pair");
assert.ok(told(await gateway.getAllVolatility()).metrics["EUR_USD"]);

const matrix = told(await gateway.getCorrelationMatrix());
assert.equal(matrix.matrix["EUR_USD"]?.["EUR_USD"], 1);
refused(await gateway.getCorrelationMatrix({ query: { window: 0 } }), 400, "invalid-request");
assert.equal(told(await gateway.getPairCorrelation({ query: { pair1: "EUR_USD", pair2: "GBP_USD" } })).pair2, "GBP_USD");
refused(await gateway.getPairCorrelation({ query: { pair1: "EUR_USD", pair2: "XXX_YYY" } }), 400, "invalid-pair");
const several = told(await gateway.getCandlesOfPairs({ query: { pairs: "EUR_USD,GBP_USD", limit: 2 } }));
assert.equal(several.count, 4);
assert.ok(told(await gateway.getTicks({ query: { pairs: "*", limit: 2 } })).ticks.every(({ spread }) => Number(spread) === 0.1));
assert.ok(told(await gateway.getCalendar()).trading_days.length > 0);
assert.equal(told(await gateway.getMetricsHistory({ path: { instrument: "EUR_USD" }, query: { limit: 2 } })).count, 2);
const over = told(await gateway.getRollingCorrelation({ query: { pair1: "EUR_USD", pair2: "GBP_USD", limit: 2 } }));
assert.equal(over.count, 2);
refused(await gateway.getCandlesOfPairs({ query: { pairs: "XXX_YYY" } }), 400, "invalid-pair");
refused(await gateway.getTicks({ query: { pairs: "*", since: "soon" } }), 400, "invalid-cursor");
refused(await gateway.getCalendar({ query: { start_time: "x" } }), 400, "invalid-request");
refused(await gateway.getMetricsHistory({ path: { instrument: "EUR_USD" }, query: { limit: 0 } }), 400, "invalid-request");
refused(
  await gateway.getRollingCorrelation({ query: { pair1: "EUR_USD", pair2: "GBP_USD", window: 1 } }),
  400,
  "invalid-request",
);
assert.ok(told(await gateway.getBestPairs()).pairs.every(({ rank }) => rank >= 1));

const alerts = told(await gateway.getAlerts({ query: { severity: ["warning"], limit: 5 } }));
assert.ok(alerts.alerts.some((alert) => alert.type === "price_alert" && alert.level === "1.50000"));
refused(await gateway.getAlerts({ query: { limit: 0 } }), 400, "invalid-request");

const level = told(await gateway.setPriceLevel({ body: { instrument: "GBP_USD", direction: "below", level: "0.50000", message: "low" } }));
assert.equal(level.level, "0.50000");
const tooFine: gateway.NewPriceLevel = { instrument: "GBP_USD", direction: "below", level: "0.500001" };
refused(await gateway.setPriceLevel({ body: tooFine }), 422, "invalid-body");
assert.ok(told(await gateway.getPriceLevels()).levels.some(({ id }) => id === level.id));
refused(await gateway.getPriceLevels({ query: { pair: "XXX_YYY" } }), 400, "invalid-pair");
assert.equal(told(await gateway.getPriceLevel({ path: { id: level.id } })).message, "low");
refused(await gateway.getPriceLevel({ path: { id: nowhere } }), 404, "not-found");
assert.equal((await gateway.deletePriceLevel({ path: { id: level.id } })).response?.status, 204);
refused(await gateway.deletePriceLevel({ path: { id: level.id } }), 404, "not-found");

const page = told(await gateway.getEvents({ query: { types: "price_update", limit: 2 } }));
assert.equal(page.events.length, 2);
for (const { type, data } of page.events) assert.ok(type === "price_update" && "source" in data && "price" in data);
refused(await gateway.getEvents({ query: { since: "soon" } }), 400, "invalid-cursor");
const body: gateway.NewEvent[] = [{ type: "data_ready", data: { data_type: "candles", count: 3 } }];
assert.equal(told(await gateway.publishEvents({ body })).ids.length, 1);
refused(await gateway.publishEvents({ body, auth: "not a token that is known" }), 401, "unauthorized");

await heard((signal) => gateway.streamPairs({ query: { pairs: "EUR_USD,GBP_USD" }, signal }));
await heard((signal) => gateway.streamPair({ path: { pair: "EUR_USD" }, signal }));

assert.ok(told(await gateway.getSessions()).sessions.length > 0);
assert.ok(told(await gateway.getJobs()).runs.length > 0);
refused(await gateway.getJobs({ query: { limit: 0 } }), 400, "invalid-request");
const state: gateway.AdminState = told(await gateway.getAdminState());
assert.equal(state.gateway.workers[0]?.worker, 1);
refused(await gateway.getAdminState({ auth: "not a token that is known" }), 401, "unauthorized");
assert.equal(told(await gateway.getHealth()).status, "healthy");
assert.equal(told(await gateway.getLiveness()).status, "alive");
assert.equal(told(await gateway.getReadiness()).status, "ready");
const calls = gateway as unknown as Record<string, Call<object>>;
for (const { name, given } of unnamed) assert.ok(told(await calls[name]!(given)));
tell();

/** Fails unless a stream begins as one does; then lets go of it. */
async function heard(open: (signal: AbortSignal) => ReturnType<typeof gateway.streamPairs>): Promise<void> {
  const leaving = new AbortController();
  const { stream } = await open(leaving.signal);
  const first = await stream.next();
  leaving.abort(); // before the stream is told to end: it waits for what is being read
  assert.ok(!first.done && typeof first.value === "object" && "recovered" in first.value);
}
