// @ts-check
import "./alerts.css";
import { Again } from "../again.js";
import { choice, make, spoken, utc } from "./elements.js";

const MOST = 500;
const NONE = "No alerts yet. Volatility and correlation alerts come automatically, price alerts after you set a level.";
const TYPES = { volatility_alert: "Volatility", correlation_alert: "Correlation", price_alert: "Price level" };

/** Mount the panel of live and past alerts. Returns a function that unmounts it. @param {HTMLElement} element */
export function mount(element, { store, api }) {
  const panel = new AlertsPanel(element, store, api);
  return () => panel.unmount();
}

class AlertsPanel {
  constructor(element, store, api) {
    this.api = api;
    this.store = store;
    /** @type {any[]} loaded alerts, newest first */
    this.past = [];
    /** @type {string|null} cursor of the next page */
    this.next = null;
    this.turn = 0;
    this.frame = 0;
    this.again = new Again(() => this.reload());
    this.severity = choice("Severity", [
      ["", "All severities"],
      ["info", "Info"],
      ["warning", "Warning"],
      ["critical", "Critical"],
    ]);
    this.type = choice("Type", [["", "All types"], ...Object.entries(TYPES)]);
    this.pair = choice("Pair", [["", "All pairs"], ...[...store.pairs].map((name) => [name, spoken(name)])]);
    this.list = make("ol", { class: "alerts-list" });
    this.empty = make("p", { class: "alerts-empty" }, "Loading alerts…");
    this.more = make("button", { type: "button", hidden: "" }, "Older alerts");
    this.box = make(
      "div",
      { class: "alerts-box", tabindex: "0", role: "region", "aria-label": "List of alerts" },
      this.list,
      this.empty,
      this.more,
    );
    // Only critical alerts are announced: more would interrupt a screen reader all the time.
    this.spoken = make("p", { class: "alerts-spoken", "aria-live": "assertive" });
    this.root = make("div", {}, make("div", { class: "alerts-bar" }, this.severity, this.type, this.pair), this.box, this.spoken);
    element.append(this.root);
    for (const filter of [this.severity, this.type, this.pair]) filter.addEventListener("change", () => this.reload());
    this.more.addEventListener("click", () => this._older());
    this.stops = [
      store.on("alert", (alert) => this._come(alert)),
      store.on("connection", ({ recovered }) => {
        if (recovered === false && this.recovered !== false) this.reload();
        this.recovered = recovered;
      }),
    ];
    this.reload();
  }

  /** Load the newest page for the filters. */
  async reload() {
    const turn = ++this.turn;
    this.past = [];
    this.next = null;
    this.problem = "";
    this._render();
    await this._page(turn, {});
  }

  unmount() {
    this.turn++;
    this.again.stop();
    cancelAnimationFrame(this.frame);
    for (const stop of this.stops) stop();
    this.root.remove();
  }

  async _older() {
    if (this.next) await this._page(this.turn, { before: this.next });
  }

  async _page(turn, place) {
    const params = { limit: 50, ...place };
    for (const name of ["severity", "type", "pair"]) if (this[name].value) params[name] = this[name].value;
    try {
      const { alerts, next } = await this.api.get("api/v1/alerts", params);
      if (turn !== this.turn) return;
      this.past.push(...alerts);
      this.next = next;
      this.problem = "";
      this.again.stop();
    } catch (error) {
      if (turn !== this.turn) return;
      this.problem = `Past alerts could not be loaded: ${error.message}`;
      this.again.failed();
    }
    this._render();
  }

  _come(alert) {
    if (alert.severity === "critical") this.spoken.textContent = `Critical: ${alert.message}`;
    if (!this.frame)
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this._render();
      });
  }

  _filtered() {
    return [this.severity, this.type, this.pair].some(({ value }) => value);
  }

  _fits(alert) {
    const { severity, type, pair } = this;
    return (
      (!severity.value || alert.severity === severity.value) &&
      (!type.value || alert.type === type.value) &&
      (!pair.value || pairsOf(alert).includes(pair.value))
    );
  }

  _shown() {
    const byId = new Map();
    for (const alert of [...this.store.alerts, ...this.past]) if (this._fits(alert)) byId.set(alert.id, alert);
    return [...byId.values()].sort((one, other) => later(one.id, other.id)).slice(0, MOST);
  }

  /** Update the list. Existing items stay in place, so that the scroll position does too. */
  _render() {
    const shown = this._shown();
    const there = new Map([...this.list.children].map((item) => [item.dataset.id, item]));
    const { scrollTop, scrollHeight } = this.box;
    const top = this.list.firstElementChild;
    const before = top?.offsetTop ?? 0;
    const items = shown.map((alert) => there.get(alert.id) ?? row(alert));
    const wanted = new Set(items);
    for (const item of there.values()) if (!wanted.has(item)) item.remove();
    items.forEach((item, at) => {
      if (this.list.children[at] !== item) this.list.insertBefore(item, this.list.children[at] ?? null);
    });
    if (scrollTop > 0 && top?.isConnected && scrollHeight) this.box.scrollTop = scrollTop + top.offsetTop - before;
    this.empty.textContent = this.problem || (this._filtered() ? "No alerts match the filters." : NONE);
    this.empty.hidden = shown.length > 0 && !this.problem;
    this.more.hidden = !this.next || shown.length >= MOST;
  }
}

function row(alert) {
  return make(
    "li",
    { "data-id": alert.id, "data-severity": alert.severity, "data-type": alert.type },
    make("span", { class: "alerts-severity" }, alert.severity),
    make("span", { class: "alerts-about" }, `${TYPES[alert.type]} · ${pairsOf(alert).map(spoken).join(", ")}`),
    make("time", { datetime: alert.timestamp }, utc(alert.timestamp)),
    make("span", { class: "alerts-message" }, alert.message),
  );
}

const pairsOf = (alert) => (alert.instrument ? [alert.instrument] : [alert.pair1, alert.pair2]);

/** Compare ids, two numbers each, newest first. */
function later(one, other) {
  const [left, right] = [one, other].map((id) => id.split("-").map(Number));
  return right[0] - left[0] || right[1] - left[1];
}
