// @ts-check
import { drawLine } from "./sparkline.js";

const FLASH = 350;
const REDRAW_EVERY = 250;
const KINDS = { indicative: "indicative", synthetic: "synthetic", daily: "daily rate" };

/** The table of all pairs, kept up to date by the store. */
export class PriceTable {
  /** @param {HTMLTableSectionElement} body @param {import("./store.js").Store} store */
  constructor(body, store) {
    this._body = body;
    this._store = store;
    /** @type {Map<string, Row>} */
    this._rows = new Map();
    this._undrawn = new Set();
    store.on("pairs", (pairs) => this._build(pairs));
    store.on("prices", (pairs) => this._show(pairs));
    store.on("selected", () => this._mark());
    body.addEventListener("click", (event) => this._pick(event));
    body.addEventListener("keydown", (event) => this._move(event));
    setInterval(() => this._draw(), REDRAW_EVERY);
    new ResizeObserver(() => this.redraw()).observe(body);
  }

  /** Redraw every sparkline, as after a change of colours. */
  redraw() {
    for (const pair of this._rows.keys()) this._undrawn.add(pair);
  }

  _build(pairs) {
    const rows = new Map(pairs.map((pair) => [pair, this._rows.get(pair) ?? new Row(pair)]));
    if ([...rows.keys()].join() !== [...this._rows.keys()].join())
      this._body.replaceChildren(...[...rows.values()].map(({ element }) => element));
    this._rows = rows;
    this._mark();
  }

  _mark() {
    for (const [pair, row] of this._rows) row.select(pair === this._store.selected);
  }

  _show(pairs) {
    for (const pair of pairs) {
      const price = this._store.price(pair);
      if (price) this._rows.get(pair)?.show(price);
      this._undrawn.add(pair);
    }
  }

  _draw() {
    if (document.hidden) return;
    for (const pair of this._undrawn)
      this._rows.get(pair)?.draw(this._store.history(pair), this._store.price(pair)?.direction ?? "");
    this._undrawn.clear();
  }

  _pick({ target }) {
    const row = target instanceof Element ? target.closest("tr") : null;
    if (row?.dataset.pair) this._store.select(row.dataset.pair);
  }

  _move(event) {
    const buttons = [...this._rows.values()].map(({ button }) => button);
    const at = buttons.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = buttons[Math.max(0, Math.min(buttons.length - 1, to))];
    buttons[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

class Row {
  /** @param {string} pair */
  constructor(pair) {
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "pair";
    this.button.textContent = pair.replace("_", "/");
    this.note = span("note");
    this.spread = cell("spread");
    this.change = cell("change");
    this.time = cell("time");
    this.bid = new Quoted();
    this.ask = new Quoted();
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    const line = cell("line");
    line.append(this.canvas);
    const head = document.createElement("th");
    head.scope = "row";
    head.append(this.button, this.note);
    this.element = document.createElement("tr");
    this.element.dataset.pair = pair;
    this.element.append(head, this.bid.element, this.ask.element, this.spread, this.change, line, this.time);
    this._flashing = 0;
    for (const empty of [this.bid, this.ask]) empty.show("–");
    for (const empty of [this.spread, this.change]) write(empty, "–");
  }

  select(selected) {
    this.element.classList.toggle("selected", selected);
    this.button.tabIndex = selected ? 0 : -1;
    if (selected) this.button.setAttribute("aria-current", "true");
    else this.button.removeAttribute("aria-current");
  }

  /** @param {import("./store.js").ShownPrice} price */
  show(price) {
    const before = this._price;
    this._price = price;
    this.bid.show(price.bid);
    this.ask.show(price.ask);
    write(this.spread, price.spread);
    const change = price.change_pct === null ? null : Math.round(price.change_pct * 100) / 100;
    write(this.change, change === null ? "–" : `${change < 0 ? "−" : change > 0 ? "+" : ""}${Math.abs(change).toFixed(2)}%`);
    this.change.dataset.sign = change ? (change > 0 ? "up" : "down") : "";
    write(this.time, price.time.slice(11, 19));
    if (this.element.classList.contains("stale") !== price.stale) this.element.classList.toggle("stale", price.stale);
    write(this.note, [price.stale ? "stale" : "", KINDS[price.kind] ?? ""].filter(Boolean).join(", "));
    if (before && before.mid !== price.mid) this._flash(price.direction);
  }

  /** @param {number[]} mids @param {string} direction */
  draw(mids, direction) {
    drawLine(this.canvas, mids, direction);
  }

  _flash(direction) {
    if (this.element.dataset.flash !== direction) this.element.dataset.flash = direction;
    clearTimeout(this._flashing);
    this._flashing = setTimeout(() => delete this.element.dataset.flash, FLASH);
  }
}

/** A price with its pips emphasized. Its text is the price as sent. */
class Quoted {
  constructor() {
    this.element = cell("price");
    this.parts = [span("front"), span("pips"), span("tenth")];
    this.element.append(...this.parts);
  }

  show(price) {
    const point = price.indexOf(".");
    const tenth = point >= 0 && price.length - point > 3 ? price.length - 1 : price.length;
    const pips = Math.max(tenth - 2, 0);
    write(this.parts[0], price.slice(0, pips));
    write(this.parts[1], price.slice(pips, tenth));
    write(this.parts[2], price.slice(tenth));
  }
}

function write(element, text) {
  if (element.firstChild) {
    if (element.firstChild.data !== text) element.firstChild.data = text;
  } else element.textContent = text;
}

function cell(name) {
  const made = document.createElement("td");
  made.className = name;
  return made;
}

function span(name) {
  const made = document.createElement("span");
  made.className = name;
  return made;
}
