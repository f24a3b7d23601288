// @ts-check
import { io } from "socket.io-client";
import { EVENTS, OPEN_WITHIN, SETTLED_AFTER } from "./channel.js";
import { unpacked } from "./compact.js";

const ANSWER_WITHIN = 4000;
const MEASURE_EVERY = 5000;

/** Socket.IO over one transport. */
export class SocketChannel {
  /** @param {"websocket"|"polling"} transport @param {string|null} since @param {import("./channel.js").Hooks} hooks */
  constructor(transport, since, hooks) {
    this.transport = transport;
    this._hooks = hooks;
    this._over = false;
    const path = new URL("socket.io/", document.baseURI).pathname;
    this._socket = io({ path, transports: [transport], reconnection: false, forceNew: true, timeout: OPEN_WITHIN });
    this._timer = setTimeout(() => this._lose("no answer in time"), OPEN_WITHIN);
    this._socket.on("connect", () => this._subscribe(since));
    this._socket.on("subscription_confirmed", ({ recovered, sources }) => this._open(recovered, sources));
    this._socket.on("connect_error", (error) => this._lose(error.message, "data" in error));
    // The library reports no error for a connection that closes before it has opened.
    this._socket.io.engine?.once("close", (reason) => this._lose(reason));
    this._socket.on("disconnect", (reason) => this._lose(reason));
    for (const error of ["subscription_error", "server_error"])
      this._socket.on(error, (problem) => !this._opened && this._lose(problem.error, true, error === "subscription_error"));
    this._socket.on("pong", ({ cursor }) => this._measured(cursor));
    for (const name of EVENTS) this._socket.on(name, (event) => this._over || hooks.event(name, ...read(event)));
  }

  /** Send a ping; without an answer in time the channel is lost. */
  check() {
    if (!this._opened || this._asked) return;
    this._asked = performance.now();
    this._timer = setTimeout(() => this._lose("no answer in time"), ANSWER_WITHIN);
    this._socket.emit("ping");
  }

  close() {
    this._over = true;
    clearTimeout(this._timer);
    clearTimeout(this._first);
    clearInterval(this._measuring);
    this._socket.disconnect();
  }

  _subscribe(since) {
    this._socket.emit("subscribe", { pairs: "*", format: "compact", ...(since && { since }) });
  }

  _open(recovered, sources) {
    if (this._over || this._opened) return;
    clearTimeout(this._timer);
    this._opened = true;
    this._hooks.opened(recovered, sources ?? []);
    this._first = setTimeout(() => this.check(), SETTLED_AFTER);
    this._measuring = setInterval(() => this.check(), MEASURE_EVERY);
  }

  _measured(cursor) {
    if (this._over || !this._asked) return;
    clearTimeout(this._timer);
    this._hooks.latency(performance.now() - this._asked);
    this._asked = 0;
    this._hooks.cursor(cursor);
  }

  /** @param {string} reason @param {boolean} [refused] @param {boolean} [unusable] */
  _lose(reason, refused = false, unusable = false) {
    if (this._over) return;
    this.close();
    this._hooks.lost({ reason, refused, unusable });
  }
}

/** The data of an event and its id. @returns {[any, string|null]} */
const read = (event) => (Array.isArray(event) ? unpacked(/** @type {any} */ (event)) : [event, event.id ?? null]);
