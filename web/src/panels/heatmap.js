// @ts-check
import "./heatmap.css";
import { Again } from "../again.js";
import { choice, make, spoken, utc } from "./elements.js";

const BLUE = [33, 90, 168];
const WHITE = [247, 247, 247];
const RED = [186, 32, 47];
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Mount the correlation heatmap. Returns a function that unmounts it. @param {HTMLElement} element */
export function mount(element, { store, api }) {
  const length = choice("Bars", [
    ["", "Daily job"],
    ["H1", "H1 bars"],
    ["H4", "H4 bars"],
    ["D", "D bars"],
  ]);
  const span = choice("Window", [
    ["50", "50 bars"],
    ["100", "100 bars"],
    ["200", "200 bars"],
    ["500", "500 bars"],
  ]);
  span.value = "100";
  span.disabled = true;
  const badge = make("span", { class: "badge heatmap-simulated", hidden: "" }, "Simulated");
  const detail = make("p", { class: "heatmap-detail", role: "status" }, "Loading correlations…");
  const facts = make("p", { class: "heatmap-facts" });
  const head = make("thead");
  const body = make("tbody");
  const caption = make("caption", {}, "Correlation of log returns: blue −1, white 0, red +1");
  const table = make("table", { class: "heatmap" }, caption, head, body);
  const box = make("div", { class: "heatmap-box", hidden: "" }, table);
  const root = make("div", {}, make("div", { class: "heatmap-bar" }, length, span, badge), box, detail, facts);
  element.append(root);

  const again = new Again(load);
  let turn = 0;
  let answer = null;
  let place = [0, 0];

  async function load() {
    const mine = ++turn;
    span.disabled = !length.value;
    const params = length.value ? { granularity: length.value, window: span.value } : {};
    try {
      const found = await api.get("api/v1/correlation/matrix", params);
      if (mine !== turn) return;
      again.stop();
      show(found);
    } catch (error) {
      if (mine !== turn) return;
      if (error.status !== 404) again.failed();
      answer = null;
      head.replaceChildren();
      body.replaceChildren();
      box.hidden = true;
      badge.hidden = true;
      facts.textContent = "";
      detail.textContent =
        error.status === 404
          ? "There are no correlations yet: they need a history of bars."
          : `The correlations could not be loaded: ${error.message}`;
    }
  }

  function show(found) {
    answer = found;
    const names = Object.keys(found.matrix);
    box.hidden = false;
    badge.hidden = !found.simulated;
    place = place.map((at) => Math.min(at, names.length - 1));
    head.replaceChildren(
      make("tr", {}, make("td"), ...names.map((name) => make("th", { scope: "col" }, make("span", {}, spoken(name))))),
    );
    body.replaceChildren(
      ...names.map((row, down) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, spoken(row)),
          ...names.map((column, right) => cell(found, row, column, down, right)),
        ),
      ),
    );
    facts.textContent = `${found.window} ${found.granularity} bars to ${utc(found.end)}${found.simulated ? ", simulated" : ""}`;
    detail.textContent = "Point at a cell, or move with the arrow keys.";
  }

  function cell(found, row, column, down, right) {
    const value = found.matrix[row][column];
    const own = down === place[0] && right === place[1];
    const made = make(
      "td",
      { tabindex: own ? "0" : "-1", "data-pair": row, "data-with": column },
      value === null ? "–" : written(value),
    );
    if (value === null) return made;
    const colour = shade(value);
    made.style.backgroundColor = `rgb(${colour.join(" ")})`;
    made.style.color = luminance(colour) > 0.18 ? "#000000" : "#ffffff";
    return made;
  }

  function tell(event) {
    const at = event.target.closest?.("td[data-pair]");
    if (!at || !answer) return;
    const { pair, with: other } = at.dataset;
    const value = answer.matrix[pair][other];
    detail.textContent =
      `${spoken(pair)} with ${spoken(other)}: ${value === null ? "not known" : value.toFixed(4).replace("-", "−")}, ` +
      `${answer.observations[pair][other]} returns in common, window of ${answer.window} ${answer.granularity} bars`;
  }

  function move(event) {
    const step = STEPS[event.key];
    const at = event.target.closest?.("td[data-pair]");
    if (!step || !at) return;
    event.preventDefault();
    const row = body.rows[[...body.rows].indexOf(at.parentElement) + step[0]];
    const next = row?.cells[at.cellIndex + step[1]];
    if (!next?.dataset.pair) return;
    next.focus();
  }

  function settle(event) {
    const at = event.target.closest?.("td[data-pair]");
    if (!at) return;
    body.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    at.setAttribute("tabindex", "0");
    place = [[...body.rows].indexOf(at.parentElement), at.cellIndex - 1];
    tell(event);
  }

  length.addEventListener("change", load);
  span.addEventListener("change", load);
  body.addEventListener("pointerover", tell);
  body.addEventListener("focusin", settle);
  body.addEventListener("keydown", move);
  const stop = store.on("data_ready", load);
  load();
  return () => {
    turn++;
    again.stop();
    stop();
    root.remove();
  };
}

const written = (value) =>
  value
    .toFixed(2)
    .replace(/^-0\.00$/, "0.00")
    .replace("-", "−");

function shade(value) {
  const end = value < 0 ? BLUE : RED;
  const part = Math.min(1, Math.abs(value));
  return WHITE.map((from, at) => Math.round(from + (end[at] - from) * part));
}

/** The relative luminance of a colour, from 0 to 1, as defined by WCAG. */
function luminance(colour) {
  const [red, green, blue] = colour.map((part) =>
    part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
