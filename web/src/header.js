// @ts-check

const STATES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", offline: "Offline" };
const TRANSPORTS = { websocket: "WebSocket", eventsource: "EventSource", polling: "Polling" };
const SCHEMES = ["auto", "light", "dark"];
const SCHEME_NAMES = { auto: "auto", light: "light", dark: "dark" };

/** The header: source, connection and theme switch. */
export class Header {
  /** @param {import("./store.js").Store} store @param {() => void} recoloured */
  constructor(store, recoloured) {
    this._store = store;
    this._recoloured = recoloured;
    this._simulated = byId("simulated");
    this._source = byId("source");
    this._state = byId("state");
    this._transport = byId("transport");
    this._latency = byId("latency");
    this._reason = byId("reason");
    this._selected = byId("selected-pair");
    this._theme = byId("theme");
    store.on("source", () => this._showSource());
    store.on("prices", () => this._showSimulated());
    store.on("connection", (status) => this._showConnection(status));
    store.on("latency", (latency) => this._showLatency(latency));
    store.on("selected", () => this._showSelected());
    store.on("pairs", () => this._showSelected());
    this._theme.addEventListener("click", () => this._switch());
    this._showConnection(store.connection);
    this._showScheme();
  }

  _showSource() {
    const { name } = this._store.source;
    this._showSimulated();
    this._source.textContent = name ? `Source: ${name}` : "";
  }

  _showSimulated() {
    const hidden = !this._store.simulated;
    if (this._simulated.hidden !== hidden) this._simulated.hidden = hidden;
  }

  _showConnection({ state, transport, latency, recovered, reason }) {
    document.body.dataset.connection = state;
    this._state.textContent = STATES[state];
    this._transport.textContent = transport ? TRANSPORTS[transport] : "";
    this._reason.textContent =
      state === "live"
        ? ({ true: "Resumed, nothing missed", false: "Reloaded: some updates were missed" }[String(recovered)] ?? "")
        : state === "connecting"
          ? reason
          : `${reason}. Prices below are the last ones received.`;
    this._showLatency(latency);
  }

  _showLatency(latency) {
    this._latency.textContent = latency === null ? "" : latency < 1 ? "<1 ms" : `${Math.round(latency)} ms`;
  }

  _showSelected() {
    const name = this._store.selected.replace("_", "/");
    this._selected.textContent = name;
    document.title = name ? `${name} · FX Gateway` : "FX Gateway";
  }

  _switch() {
    const next = SCHEMES[(SCHEMES.indexOf(this._scheme()) + 1) % SCHEMES.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    this._showScheme();
    this._recoloured();
  }

  _scheme() {
    return document.documentElement.dataset.theme ?? "auto";
  }

  _showScheme() {
    this._theme.textContent = `Theme: ${SCHEME_NAMES[this._scheme()]}`;
  }
}

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);
