// @ts-check
import "./levels.css";
import { Again } from "../again.js";
import { choice, make, spoken } from "./elements.js";

const PATH = "api/v1/alerts/levels";
const KEPT = "alert-token";
const AT_ONCE = 300;

/** Mount the panel of price levels. Returns a function that unmounts it. @param {HTMLElement} element */
export function mount(element, { store, api }) {
  const panel = new LevelsPanel(element, store, api);
  return () => panel.unmount();
}

class LevelsPanel {
  constructor(element, store, api) {
    this.store = store;
    this.api = api;
    this.alive = true;
    this.timer = 0;
    this.again = new Again(() => this.load());
    this.instrument = choice(
      "Pair",
      [...store.pairs].map((name) => [name, spoken(name)]),
    );
    this.direction = choice("Direction", [
      ["above", "at or above"],
      ["below", "at or below"],
    ]);
    this.level = make("input", { inputmode: "decimal", autocomplete: "off", required: "", size: "9" });
    this.severity = choice("Severity", [
      ["info", "Info"],
      ["warning", "Warning"],
      ["critical", "Critical"],
    ]);
    this.message = make("input", { maxlength: "200", autocomplete: "off" });
    this.repeat = make("input", { type: "checkbox" });
    this.cooldown_seconds = make("input", { inputmode: "numeric", autocomplete: "off", size: "6", value: "3600" });
    this.token = make("input", { type: "password", autocomplete: "off" });
    this.fields = new Map();
    const own = [
      this._field("instrument", "Pair"),
      this._field("direction", "When the mid is"),
      this._field("level", "Price"),
      this._field("severity", "Severity"),
      this._field("message", "Note"),
      this._field("repeat", "Repeat"),
      this._field("cooldown_seconds", "Seconds between alerts"),
    ];
    this.tokenField = this._field("token", "Token");
    this.tokenField.hidden = !sessionStorage.getItem(KEPT);
    this.token.value = sessionStorage.getItem(KEPT) ?? "";
    this.token.addEventListener("change", () => sessionStorage.setItem(KEPT, this.token.value));
    this.problem = make("p", { class: "levels-problem", role: "alert" });
    this.set = make("button", { type: "submit" }, "Set level");
    this.form = make("form", { class: "levels-form", novalidate: "" }, ...own, this.tokenField, this.set, this.problem);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._set();
    });
    this.state = make("p", { class: "levels-state" }, "Loading levels…");
    this.list = make("ul", { class: "levels-list" });
    this.root = make("div", {}, this.form, this.state, this.list);
    element.append(this.root);
    this._select();
    this.stops = [
      store.on("selected", () => this._select()),
      store.on("alert", (alert) => alert.type === "price_alert" && this._later()),
    ];
    this.load();
  }

  /** Load the levels. */
  async load() {
    try {
      const { levels } = await this.api.get(PATH);
      if (!this.alive) return;
      this.again.stop();
      this._show(levels);
    } catch (error) {
      if (!this.alive) return;
      this.again.failed();
      this.state.hidden = false;
      this.state.textContent = `The levels could not be loaded: ${error.message}`;
    }
  }

  unmount() {
    this.alive = false;
    this.again.stop();
    clearTimeout(this.timer);
    for (const stop of this.stops) stop();
    this.root.remove();
  }

  /** Reload after an alert, once for several in quick succession. */
  _later() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.load(), AT_ONCE);
  }

  _field(name, text) {
    const input = this[name];
    const error = make("span", { class: "levels-error", id: `level-${name}-error` });
    input.id = `level-${name}`;
    input.name = name;
    input.removeAttribute("aria-label");
    input.setAttribute("aria-describedby", error.id);
    this.fields.set(name, { input, error });
    return make("div", { class: `levels-field levels-field-${name}` }, make("label", { for: input.id }, text), input, error);
  }

  _select() {
    if (this.store.selected) this.instrument.value = this.store.selected;
    this.level.placeholder = this.store.price(this.instrument.value)?.mid ?? "";
  }

  _show(levels) {
    this.state.textContent = levels.length ? "" : "No levels are set.";
    this.state.hidden = levels.length > 0;
    this.list.replaceChildren(
      ...levels.map((level) => {
        const words = `${spoken(level.instrument)} at or ${level.direction} ${level.level}`;
        const remove = make("button", { type: "button", "aria-label": `Delete ${words}` }, "Delete");
        remove.addEventListener("click", () => this._delete(level.id));
        const told = level.triggered ? ` · ${level.triggered} ${level.triggered === 1 ? "alert" : "alerts"}` : "";
        const state = `${level.severity} · ${level.armed ? "waiting" : level.repeat ? "waiting for the price to move back" : "done"}${level.repeat ? " · repeats" : ""}${told}`;
        return make(
          "li",
          { "data-id": level.id, "data-armed": String(level.armed) },
          make("span", { class: "levels-words" }, words),
          remove,
          make("span", { class: "levels-facts" }, level.message ? `${state} · ${level.message}` : state),
        );
      }),
    );
  }

  async _set() {
    this._clear();
    if (!this.level.value.trim()) return this._mark("level", "A price is needed");
    const body = {
      instrument: this.instrument.value,
      direction: this.direction.value,
      level: this.level.value.trim(),
      severity: this.severity.value,
      repeat: this.repeat.checked,
    };
    if (this.message.value.trim()) body.message = this.message.value.trim();
    const pause = this.cooldown_seconds.value.trim();
    if (pause) {
      if (!/^\d+$/.test(pause)) return this._mark("cooldown_seconds", "A whole number of seconds is needed");
      body.cooldown_seconds = Number(pause);
    }
    if (await this._send((headers) => this.api.post(PATH, body, headers))) {
      this.level.value = "";
      this.message.value = "";
      this.level.focus();
    }
  }

  async _delete(id) {
    this._clear();
    await this._send((headers) => this.api.del(`${PATH}/${id}`, headers));
    this.level.focus();
  }

  /** Send a change. Returns whether it succeeded; an error is shown. @param {(headers: Record<string, string>) => Promise<any>} ask */
  async _send(ask) {
    this.set.disabled = true;
    try {
      await ask(this.token.value ? { Authorization: `Bearer ${this.token.value}` } : {});
    } catch (error) {
      if (this.alive) this._refused(error.status, error.message);
      return false;
    } finally {
      this.set.disabled = false;
    }
    await this.load();
    document.dispatchEvent(new CustomEvent("levels-changed"));
    return true;
  }

  _refused(status, message) {
    if (status === 401) {
      this.tokenField.hidden = false;
      this._mark("token", this.token.value ? "The gateway does not know this token" : "This gateway needs a token");
      return;
    }
    const [, name, text] = /^(\w+): (.*)$/s.exec(message) ?? [];
    if (this.fields.has(name)) this._mark(name, text);
    else this.problem.textContent = message;
  }

  _mark(name, text) {
    const { input, error } = this.fields.get(name);
    input.setAttribute("aria-invalid", "true");
    error.textContent = text;
    input.focus();
  }

  _clear() {
    this.problem.textContent = "";
    for (const { input, error } of this.fields.values()) {
      input.removeAttribute("aria-invalid");
      error.textContent = "";
    }
  }
}
