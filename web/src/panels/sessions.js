// @ts-check
import "./sessions.css";
import { draw, make } from "./elements.js";

const DAY = 86_400_000;
const LEFT = 88;
const WIDTH = 480;
const ROW = 24;
const TOP = 18;
const AGAIN = 10 * 60_000;

/** Mount the panel of sessions, drawn on a 24-hour clock. Returns a function that unmounts it. @param {HTMLElement} element */
export function mount(element, { api }) {
  const state = make("p", { class: "sessions-state" }, "Loading sessions…");
  const clock = draw("svg", {
    class: "sessions-clock",
    viewBox: `0 0 ${LEFT + WIDTH + 12} ${TOP + 4 * ROW + 6}`,
    "aria-hidden": "true",
  });
  const list = make("ul", { class: "sessions-list" });
  const overlaps = make("p", { class: "sessions-overlaps" });
  const root = make("div", {}, state, clock, list, overlaps);
  element.append(root);

  let answer = null;
  let ahead = 0;
  let fetched = 0;
  let asking = false;
  let timer = 0;
  let alive = true;
  let now = null;
  let ticking = [];

  const moment = () => Date.now() + ahead;

  async function load() {
    asking = true;
    fetched = Date.now();
    try {
      const found = await api.get("api/v1/sessions");
      if (!alive) return;
      ahead = Date.parse(found.timestamp) - Date.now();
      answer = found;
      show();
      tick();
    } catch (error) {
      if (alive && !answer) state.textContent = `The sessions could not be loaded: ${error.message}`;
    } finally {
      asking = false;
    }
  }

  function show() {
    clock.replaceChildren();
    for (let hour = 0; hour <= 24; hour += 3) {
      const x = LEFT + (hour / 24) * WIDTH;
      clock.append(draw("line", { x1: x, x2: x, y1: TOP - 4, y2: TOP + answer.sessions.length * ROW, class: "sessions-grid" }));
      clock.append(draw("text", { x, y: 11, "text-anchor": "middle" }, String(hour % 24).padStart(2, "0")));
    }
    for (const overlap of answer.overlaps)
      for (const [from, to] of pieces(overlap.starts_at, overlap.ends_at))
        clock.append(
          draw("rect", {
            x: from,
            width: to - from,
            y: TOP - 4,
            height: answer.sessions.length * ROW + 4,
            class: "sessions-overlap",
          }),
        );
    answer.sessions.forEach((session, at) => {
      const y = TOP + at * ROW;
      clock.append(
        draw(
          "text",
          { x: LEFT - 8, y: y + 15, "text-anchor": "end", class: session.is_open ? "sessions-open" : "" },
          session.name,
        ),
      );
      for (const [from, to] of pieces(session.opens_at, session.closes_at))
        clock.append(
          draw("rect", {
            x: from,
            width: to - from,
            y: y + 4,
            height: ROW - 9,
            rx: 3,
            class: session.is_open ? "sessions-hours sessions-on" : "sessions-hours",
          }),
        );
    });
    now = draw("line", { y1: TOP - 6, y2: TOP + answer.sessions.length * ROW + 2, class: "sessions-now" });
    clock.append(now);
    ticking = answer.sessions.map((session) => {
      const local = make("span", { class: "sessions-local" });
      const until = make("span", { class: "sessions-until" });
      const word = make("strong", {}, session.is_open ? "open" : "closed");
      return {
        session,
        local,
        until,
        item: make(
          "li",
          { "data-open": String(session.is_open) },
          make("span", { class: "sessions-name" }, session.name),
          word,
          local,
          until,
        ),
      };
    });
    list.replaceChildren(...ticking.map(({ item }) => item));
    overlaps.textContent = answer.overlaps.length
      ? `Overlaps, UTC: ${answer.overlaps.map(({ sessions, starts_at, ends_at, is_open }) => `${sessions.join(" and ")} ${hours(starts_at)}–${hours(ends_at)}${is_open ? " (now)" : ""}`).join("; ")}`
      : "";
  }

  function tick() {
    clearTimeout(timer);
    if (!alive) return;
    timer = window.setTimeout(tick, 1000 - (moment() % 1000));
    if (!answer) {
      if (!asking && Date.now() - fetched > 5000) load();
      return;
    }
    const at = moment();
    const x = LEFT + ((at % DAY) / DAY) * WIDTH;
    now.setAttribute("x1", String(x));
    now.setAttribute("x2", String(x));
    const open = answer.sessions.filter((session) => session.is_open).map((session) => session.name);
    const utc = `${new Date(at).toISOString().slice(11, 19)} UTC`;
    state.textContent = answer.market_open
      ? `${utc} · Market open · ${open.length ? `${open.join(" and ")} open now` : "between sessions"}`
      : `${utc} · Market closed for the weekend or a holiday`;
    for (const { session, local, until } of ticking) {
      const edge = session.is_open ? session.closes_at : session.opens_at;
      local.textContent = `${new Intl.DateTimeFormat("en-GB", { timeZone: session.timezone, weekday: "short", hour: "2-digit", minute: "2-digit" }).format(at)} · ${session.start_time}–${session.end_time} local`;
      until.textContent = `${session.is_open ? "closes" : "opens"} in ${span(Date.parse(edge) - at)}`;
    }
    const edges = [
      ...answer.sessions.flatMap(({ opens_at, closes_at }) => [opens_at, closes_at]),
      ...answer.overlaps.flatMap(({ starts_at, ends_at }) => [starts_at, ends_at]),
    ];
    const passed = edges.some((edge) => Date.parse(edge) <= at && Date.parse(edge) > Date.parse(answer.timestamp));
    if (!asking && Date.now() - fetched > (passed ? 2000 : AGAIN)) load();
  }

  load();
  timer = window.setTimeout(tick, 1000);
  return () => {
    alive = false;
    clearTimeout(timer);
    root.remove();
  };
}

/** Hours as parts of a day: one, or two if they cross midnight. */
function pieces(start, end) {
  const from = (Date.parse(start) % DAY) / DAY;
  const to = from + (Date.parse(end) - Date.parse(start)) / DAY;
  const x = (part) => LEFT + part * WIDTH;
  return to <= 1
    ? [[x(from), x(to)]]
    : [
        [x(from), x(1)],
        [x(0), x(to - 1)],
      ];
}

const hours = (time) => new Date(time).toISOString().slice(11, 16);

function span(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const two = (value) => String(value).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  return `${days ? `${days} d ` : ""}${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
