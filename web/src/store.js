// @ts-check
import { Connection } from "./connection.js";
import { isAfter } from "./cursor.js";
import { minus, percent, pips } from "./decimal.js";

/**
 * @typedef {{
 *   bid: string, ask: string, mid: string, spread: string, time: string, source: string, kind: string, prevClose: string|null,
 *   change: string|null, change_pct: number|null, direction: ""|"up"|"down", stale: boolean, id: string|null
 * }} ShownPrice
 * Prices and the change are text as sent by the gateway, the spread is in pips, the time is RFC 3339 in UTC.
 */

/** Rarely, because pages behind one address share its rate limit. The stream carries what changes at once. */
const REFRESH_EVERY = 30_000;
const SOON = 1000;
const REMEMBERED = 90;
const MOST_ALERTS = 500;
const TO_MILLISECONDS = "2026-01-31T09:30:00.123".length;
const ALERTS = new Set(["volatility_alert", "correlation_alert", "price_alert"]);

/**
 * The state of the page. Topics: `prices` (a Set of pairs, at most once a frame), `alert`, `data_ready`, `connection`, `latency`,
 * `selected`, `source`, `pairs`.
 */
export class Store {
  /** @type {string[]} */
  pairs = [];
  selected = "";
  /** @type {{name: string, simulated: boolean|null}} */
  source = { name: "", simulated: null };
  /** Alerts received since the page was opened, newest first. @type {any[]} */
  alerts = [];

  /** @param {{get: (path: string, params?: object) => Promise<any>}} api */
  constructor(api) {
    this._api = api;
    /** @type {Map<string, ShownPrice>} */
    this._prices = new Map();
    /** @type {Map<string, {source: string, kind: string}>} where each pair's price comes from, which the stream does not say */
    this._origins = new Map();
    /** @type {Map<string, number[]>} */
    this._history = new Map();
    /** @type {Map<string, Set<(value: any) => void>>} */
    this._listeners = new Map();
    /** @type {Set<string>} */
    this._changed = new Set();
    this._frame = 0;
    this._connection = new Connection(
      (type, data, id) => this._take(type, data, id),
      (status) => this._connected(status),
      (latency) => this._emit("latency", latency),
    );
  }

  /** State, transport, latency in milliseconds, and whether the last resume missed nothing. */
  get connection() {
    return this._connection.status;
  }

  /** Whether any price shown is simulated. */
  get simulated() {
    const { simulated } = this.source;
    if (simulated === null && this.connection.sources.includes("simulated")) return true;
    return simulated === true || [...this._prices.values()].some(({ source }) => source === "simulated");
  }

  /** The newest price, if any. @param {string} pair @returns {ShownPrice|undefined} */
  price(pair) {
    return this._prices.get(pair);
  }

  /** Recent mids, oldest first. @param {string} pair @returns {number[]} */
  history(pair) {
    return this._history.get(pair) ?? [];
  }

  /** Subscribe to a topic. Returns a function that unsubscribes. @param {string} topic @param {(value: any) => void} listener */
  on(topic, listener) {
    const listeners = this._listeners.get(topic) ?? new Set();
    this._listeners.set(topic, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Select the pair that the panels show, and put it into the address. @param {string} pair */
  select(pair) {
    if (pair === this.selected || !this.pairs.includes(pair)) return;
    this.selected = pair;
    if (pairInAddress() !== pair) history.replaceState(null, "", `#${pair}`);
    this._emit("selected", pair);
  }

  /** Load the first state, then follow the stream. Resolves when the pairs are known, which takes as long as the gateway is away. */
  async start() {
    this._connection.start();
    window.addEventListener("hashchange", () => this.select(pairInAddress()));
    setInterval(() => document.hidden || this._refresh(), REFRESH_EVERY);
    document.addEventListener("visibilitychange", () => document.hidden || this._refresh());
    this._askPrices().catch(() => {}); // the next refresh asks again
    await this._introduce();
  }

  /** Load what the stream does not carry or may have missed. */
  async reload() {
    await Promise.allSettled([this._askPrices(), this._askSource()]);
  }

  /** Refresh what changes with time alone: the day, staleness, and the source if it was not known. */
  _refresh() {
    if (this.source.simulated === null) this.reload();
    else this._askPrices().catch(() => {}); // the next one asks again
  }

  async _askPrices() {
    this._takeAll(await this._api.get("api/v1/prices/all"));
  }

  async _askSource() {
    const { source, simulated } = await this._api.get("api/v1/info");
    this._takeSource(source, simulated);
  }

  async _introduce() {
    const { tracked_pairs, source, simulated } = await this._answer("api/v1/info");
    this._takeSource(source, simulated);
    this._takePairs(tracked_pairs);
  }

  /** GET a path, retried until it answers. */
  async _answer(path) {
    for (let pause = 500; ; pause = Math.min(2 * pause, 8000))
      try {
        return await this._api.get(path);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
  }

  /** Show the first prices before the list of all pairs is known. */
  _takePairs(pairs) {
    this.pairs = pairs;
    const asked = pairInAddress();
    if (pairs.includes(asked)) this.selected = asked;
    else if (!pairs.includes(this.selected)) this.selected = pairs[0] ?? "";
    this._emit("pairs", pairs);
    for (const pair of this._prices.keys()) this._touch(pair);
  }

  _take(type, event, id) {
    if (type === "price_update") this._takePrice(event, id);
    else if (ALERTS.has(type)) this._takeAlert({ ...event, type });
    else if (type === "data_ready") this._emit("data_ready", event);
    else if (type === "source_changed") this._takeChange(event);
    else if (type === "feed_status") this._takeFeed(event);
    else if (type === "gap") {
      this.reload();
      this._emit("connection", { ...this.connection, recovered: false });
    }
  }

  _takePrice({ instrument, price }, id) {
    const before = this._prices.get(instrument);
    const { source, kind } = this._origins.get(instrument) ?? { source: this.source.name, kind: "quoted" };
    const prevClose = before?.prevClose ?? null;
    // The stream begins with a snapshot, whose prices keep their age.
    const stale = !!before?.stale && isSame(price, before);
    this._put(instrument, shown({ ...price, source, kind, prevClose, stale, id: id ?? before?.id ?? null }, before));
  }

  _takeAll({ prices, cursor }) {
    if (!this.pairs.length) this._takePairs(Object.keys(prices));
    for (const [pair, listed] of Object.entries(prices)) {
      const before = this._prices.get(pair);
      // The stream may have brought a newer price meanwhile, but only this answer has the change of the day.
      const newest = before?.id && isAfter(before.id, cursor) ? before : { ...listed, id: before?.id ?? null };
      const origin = { source: listed.source, kind: listed.kind ?? "quoted" };
      this._origins.set(pair, origin);
      this._put(pair, shown({ ...newest, ...origin, prevClose: listed.prev_close ?? null }, before));
    }
  }

  /** Keep alerts, which may arrive before their panel is mounted. */
  _takeAlert(alert) {
    this.alerts.unshift(alert);
    if (this.alerts.length > MOST_ALERTS) this.alerts.pop();
    this._emit("alert", alert);
  }

  _takeFeed({ source, status }) {
    if (status === "silent")
      for (const [pair, price] of this._prices) if (price.source === source) this._put(pair, { ...price, stale: true });
    setTimeout(() => this.reload(), SOON);
  }

  /** From here on every pair may come from another source; the list of all prices says which, once they have come. */
  _takeChange({ source, simulated }) {
    this._takeSource(source, simulated);
    this._origins.clear();
    setTimeout(() => this.reload(), SOON);
  }

  _takeSource(name, simulated) {
    if (name === this.source.name && simulated === this.source.simulated) return;
    this.source = { name, simulated };
    this._emit("source", this.source);
  }

  _put(pair, price) {
    const before = this._prices.get(pair);
    this._prices.set(pair, price);
    if (before?.mid !== price.mid || !isSame(price, before)) {
      const mids = this._history.get(pair) ?? [];
      this._history.set(pair, mids);
      mids.push(Number(price.mid));
      if (mids.length > REMEMBERED) mids.shift();
    }
    this._touch(pair);
  }

  _touch(pair) {
    this._changed.add(pair);
    this._frame ||= requestAnimationFrame(() => {
      const changed = this._changed;
      this._changed = new Set();
      this._frame = 0;
      this._emit("prices", changed);
    });
  }

  _connected(status) {
    if (status.state === "live" && status.recovered !== null) this.reload(); // the gateway may be another than before
    this._emit("connection", status);
  }

  _emit(topic, value) {
    for (const listener of this._listeners.get(topic) ?? []) listener(value);
  }
}

/** Of a time the stream has milliseconds, and the list of all prices microseconds. */
const isSame = (price, other) =>
  price.time.slice(0, TO_MILLISECONDS) === other.time.slice(0, TO_MILLISECONDS) &&
  price.bid === other.bid &&
  price.ask === other.ask;

function shown({ bid, ask, mid, time, source, kind, prevClose, stale, id }, before) {
  const change = prevClose === null ? null : minus(mid, prevClose);
  const moved = before ? Number(mid) - Number(before.mid) : 0;
  const direction = moved > 0 ? "up" : moved < 0 ? "down" : (before?.direction ?? "");
  const change_pct = percent(change, prevClose);
  return { bid, ask, mid, spread: pips(bid, ask), time, source, kind, prevClose, change, change_pct, direction, stale, id };
}

const pairInAddress = () => location.hash.slice(1).toUpperCase().replace("/", "_");
