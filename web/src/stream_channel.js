// @ts-check
import { EVENTS, OPEN_WITHIN, SETTLED_AFTER } from "./channel.js";
import { PRICE, unpacked } from "./compact.js";
import { momentOf } from "./cursor.js";

const SILENT_AFTER = 40_000;
const ASLEEP_AFTER = 18_000;
const TELL_EVERY = 2000;

/** Server-Sent Events. */
export class StreamChannel {
  transport = "eventsource";

  /** @param {string|null} since @param {import("./channel.js").Hooks} hooks */
  constructor(since, hooks) {
    this._hooks = hooks;
    this._over = false;
    this._told = 0;
    this._lastId = "";
    const wanted = { pairs: "*", format: "compact", ...(since && { last_event_id: since }) };
    this._source = new EventSource(`stream?${new URLSearchParams(wanted)}`);
    this._timer = setTimeout(() => this._lose("no answer in time"), OPEN_WITHIN);
    this._source.onerror = () => this._lose("the stream broke off");
    this._listen("stream_opened", ({ recovered, sources }) => {
      this._openedAt = performance.now();
      hooks.opened(recovered, sources ?? []);
    });
    this._listen("heartbeat", ({ cursor }) => hooks.cursor(cursor));
    this._listen("server_error", ({ error }) => this._lose(error, true));
    for (const name of EVENTS)
      this._listen(name, (event, id) => {
        this._tellAge(id);
        hooks.event(name, event, id);
      });
    this._listen("message", (row, id) => {
      this._tellAge(id);
      hooks.event(PRICE, unpacked(row)[0], id);
    });
  }

  /** Call after the machine slept: a connection without a recent event or heartbeat counts as lost. */
  check() {
    if (this._openedAt && performance.now() - this._heard > ASLEEP_AFTER) this._lose("silent");
  }

  close() {
    this._over = true;
    clearTimeout(this._timer);
    this._source.close();
  }

  _listen(name, listener) {
    this._source.addEventListener(name, ({ data, lastEventId }) => {
      if (this._over) return;
      this._heard = performance.now();
      // An event without an id has that of the event before it.
      const id = lastEventId === this._lastId ? null : lastEventId;
      this._lastId = lastEventId;
      listener(JSON.parse(data), id);
      if (this._over || !this._openedAt) return;
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._lose("silent"), SILENT_AFTER);
    });
  }

  /** Report the age of the newest event as the latency. */
  _tellAge(id) {
    const now = performance.now();
    if (!id || now - this._openedAt < SETTLED_AFTER || now - this._told < TELL_EVERY) return;
    this._told = now;
    this._hooks.latency(Math.max(0, Date.now() - momentOf(id)));
  }

  _lose(reason, refused = false) {
    if (this._over) return;
    this.close();
    this._hooks.lost({ reason, refused, unusable: false });
  }
}
