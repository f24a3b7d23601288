// @ts-check
import { Chart } from "./chart.js";
import { fill } from "./table.js";
import { NONE, bytes, count, duration, moment, number, percent } from "./words.js";

const TRANSPORTS = { websocket: "WebSocket", polling: "Polling", sse: "Event stream", plain: "Plain websocket" };
const SOURCES = { active: "good", standby: "", silent: "bad", refused: "bad" };
const OUTCOMES = { success: "good", partial: "odd", failed: "bad", running: "" };

const LATE_LOOP = 100;
const LATE_RECORDER = 30_000;
const OLD_LOG = 60_000;

/** @type {Record<string, [string, (value: number) => string, number]>} title, format of a value, minimum top of the scale */
const CHARTS = {
  clients: ["Clients", count, 5],
  deliveries: ["Deliveries/s", number, 10],
  events: ["Events/s", number, 10],
  bytes: ["Sent/s", bytes, 1000],
  cpu: ["CPU", percent, 0.1],
  memory: ["Memory", bytes, 1e8],
  loop: ["Loop lag", duration, 10],
  lagging: ["Lagging clients", count, 5],
};

/** The newest state and the charts. */
export class View {
  /** @param {import("./history.js").History} history */
  constructor(history) {
    this._history = history;
    this._charts = Object.entries(CHARTS).map(([name, [title, words, least]]) => ({
      name,
      chart: new Chart(title, words, least),
    }));
    document.querySelector(".charts")?.append(...this._charts.map(({ chart }) => chart.element));
  }

  /** Show the newest state. */
  show() {
    const state = this._history.newest?.state;
    if (!state) return;
    this._showGateway(state);
    this._showFacts(state);
    this._showLaggards(state);
    showSubscriptions(state);
    showClients(state);
    this._showWorkers(state);
    showLog(state);
    showFeed(state);
    showJobs(state);
  }

  /** Draw the charts up to a time of the page's clock, in seconds. @param {number} now */
  draw(now) {
    const span = this._history.span(now);
    for (const { name, chart } of this._charts) chart.show(this._history.lines(name), now, span);
  }

  /** Remove everything shown. */
  clear() {
    for (const body of document.querySelectorAll("#view tbody")) body.replaceChildren();
    byId("facts").replaceChildren();
    byId("about").textContent = "";
    this.draw(0);
  }

  _showGateway({ gateway }) {
    const uptime = duration(1000 * Math.max(1, Math.floor(gateway.uptime_seconds)));
    put(byId("about"), `Version ${gateway.version}, up for ${uptime}`);
    const missing = gateway.workers.filter((worker) => !worker.reports).map((worker) => worker.worker);
    const words = missing.length ? `without worker ${missing.join(", ")}` : "";
    for (const note of document.querySelectorAll("[data-missing]")) put(/** @type {HTMLElement} */ (note), words);
  }

  _showFacts({ clients, log, recorder, feed, gateway, totals }) {
    const feedKind = { live: "good", stale: "bad", none: "odd" }[feed.status];
    const facts = [
      ["Clients", `${count(clients.total)} of ${count(clients.max)}`, clients.total >= clients.max ? "bad" : ""],
      ["Lagging", count(clients.lagging), clients.lagging ? "odd" : ""],
      ["Cut off", count(totals.cut_off), ""],
      ["Feed", `${feed.source}: ${feed.status}`, feedKind],
      [
        "Newest event",
        log.age_ms === null ? NONE : `${duration(log.age_ms)} ago`,
        log.fault || log.age_ms > OLD_LOG ? "bad" : "",
      ],
      ["Recorder behind", recorder ? duration(recorder.behind_ms) : NONE, recorder?.behind_ms > LATE_RECORDER ? "bad" : ""],
      ["Loop lag", duration(totals.loop_lag_ms), totals.loop_lag_ms > LATE_LOOP ? "odd" : ""],
      ["Workers", count(gateway.workers.length), ""],
    ];
    const list = byId("facts");
    facts.forEach(([name, text, kind], at) => {
      const fact = list.children[at] ?? list.appendChild(fresh());
      put(/** @type {HTMLElement} */ (fact.children[0]), name);
      const value = /** @type {HTMLElement} */ (fact.children[1]);
      put(value, text);
      value.dataset.kind = kind ?? "";
    });
  }

  _showLaggards({ laggards, timestamp }) {
    fill(
      byId("laggards"),
      laggards.map((client) => [
        client.client,
        TRANSPORTS[client.transport] ?? client.transport,
        String(client.worker),
        client.lagging_ms ? { text: duration(client.lagging_ms), kind: "odd" } : client.replaying ? "catching up" : NONE,
        duration(client.behind_ms),
        client.behind_events === null ? "many" : count(client.behind_events),
        bytes(client.queued_bytes),
        count(client.pairs),
        moment(client.connected, timestamp),
      ]),
    );
    byId("no-laggards").hidden = laggards.length > 0;
    /** @type {HTMLElement} */ (byId("laggards").closest(".scroll")).hidden = !laggards.length;
  }

  _showWorkers({ gateway }) {
    fill(
      byId("workers"),
      gateway.workers.map((worker) => [
        String(worker.worker),
        count(worker.clients),
        percent(this._history.cpuOf(worker.worker)),
        worker.memory_bytes ? bytes(worker.memory_bytes) : NONE,
        { text: duration(worker.loop_lag_ms), kind: worker.loop_lag_ms > LATE_LOOP ? "odd" : "" },
        duration(worker.log_lag_ms),
        { text: count(worker.log_behind_events), kind: worker.log_behind_events ? "odd" : "" },
      ]),
    );
  }
}

function showSubscriptions({ subscriptions }) {
  const most = Math.max(1, ...Object.values(subscriptions));
  fill(
    byId("subscriptions"),
    Object.entries(subscriptions).map(([pair, clients]) => [
      pair.replace("_", "/"),
      count(clients),
      { text: "", kind: "bar", share: clients / most },
    ]),
  );
}

function showClients({ clients }) {
  fill(
    byId("transports"),
    Object.entries(TRANSPORTS).map(([transport, name]) => [
      name,
      count(clients.by_transport[transport] ?? 0),
      count(clients.connected[transport] ?? 0),
    ]),
  );
  const ended = [
    ...Object.entries(clients.refused).map(([reason, number]) => [`Refused: ${reason}`, number]),
    ...Object.entries(clients.cut_off).map(([reason, number]) => [`Cut off: ${reason}`, number]),
  ].filter(([, number]) => number);
  fill(byId("ended"), ended.length ? ended.map(([what, number]) => [what, count(number)]) : [["None", "0"]]);
}

function showLog({ log, recorder }) {
  const fault = log.fault ? [["Fault", { text: log.fault, kind: "bad" }]] : [];
  fill(byId("log"), [
    ...fault,
    ["Newest event", log.cursor],
    ["Age", duration(log.age_ms)],
    ["Events per second", number(log.events_per_second)],
    ["Events held", count(log.length)],
    ["Memory", bytes(log.memory_bytes)],
    ["Gaps", { text: count(log.gaps), kind: log.gaps ? "odd" : "" }],
    ["Recorder behind", recorder ? `${count(recorder.behind_events)} events, ${duration(recorder.behind_ms)}` : "no report"],
    ["Lost by recorder", recorder ? lossesOf(recorder) : NONE],
    [
      "Refused by database",
      recorder ? { text: count(recorder.refused_events), kind: recorder.refused_events ? "bad" : "" } : NONE,
    ],
    ["Too late for bars", recorder ? { text: count(recorder.late_quotes), kind: recorder.late_quotes ? "odd" : "" } : NONE],
  ]);
}

function lossesOf({ lost_events, losses_of_unknown_size }) {
  const uncounted = losses_of_unknown_size ? ` and ${count(losses_of_unknown_size)} times an unknown number` : "";
  return { text: `${count(lost_events)}${uncounted}`, kind: lost_events || losses_of_unknown_size ? "bad" : "" };
}

function showFeed({ feed }) {
  const simulated = feed.simulated === null ? "unknown" : feed.simulated ? "simulated" : "real";
  fill(byId("feed"), [
    ["Source", feed.source],
    ["Prices", { text: `${simulated}, ${feed.status}`, kind: feed.status === "stale" ? "bad" : "" }],
    ["Newest price", feed.price_age_ms === null ? NONE : `${duration(feed.price_age_ms)} ago`],
    ...Object.entries(feed.sources).map(([name, state]) => [name, { text: state, kind: SOURCES[state] ?? "" }]),
    ...(feed.silent_pairs.length ? [["Silent pairs", { text: feed.silent_pairs.join(", "), kind: "bad" }]] : []),
    ...Object.entries(feed.dropped).map(([reason, number]) => [`Dropped: ${reason}`, count(number)]),
  ]);
}

function showJobs({ jobs, timestamp }) {
  const runs = jobs.runs ?? [];
  const next = new Map(Object.entries(jobs.due));
  const rows = runs.map((run) => {
    const due = next.get(run.job);
    next.delete(run.job);
    return [
      run.job,
      moment(run.started, timestamp),
      duration(run.duration_ms),
      { text: run.status, kind: OUTCOMES[run.status] },
      count(run.records),
      due ? moment(due, timestamp) : "",
      run.error ?? "",
    ];
  });
  for (const [job, due] of next) rows.push([job, NONE, NONE, "no recent run", NONE, moment(due, timestamp), ""]);
  fill(byId("jobs"), rows);
  const silent = byId("no-jobs");
  put(silent, jobs.runs === null ? "The database does not answer: past runs are unknown." : "");
  silent.hidden = jobs.runs !== null;
}

function fresh() {
  const fact = document.createElement("div");
  fact.append(document.createElement("dt"), document.createElement("dd"));
  return fact;
}

/** @param {HTMLElement} element @param {string} text */
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
