// Display code of the pages. The scripts in the pages talk to the gateway.

const byId = (id) => document.getElementById(id);
const prices = byId("prices");
const notices = byId("notices");
const simulated = new Set();

/** The gateway's URL, from ?gateway=http://host:port in the page's URL. */
export const gateway = new URLSearchParams(location.search).get("gateway") || "http://localhost:5001";
byId("gateway").value = gateway;

/** Shows the state of the connection: "live" or "lost", and a text. */
export function showStatus(state, text) {
  document.body.dataset.state = state;
  const status = byId("status");
  if (status.textContent !== text) status.textContent = text; // screen readers announce every assignment, so never repeat a text
  const old = state === "lost" && prices.rows.length > 0;
  byId("caption").textContent = old ? "The last prices before the connection was lost" : "The newest price of each pair";
}

/** Shows a price_update in the row of its pair. */
export function showPrice({ instrument, price, source }) {
  const row = rowOf(instrument);
  const [, bid, ask, mid, time, origin, updates] = row.cells;
  bid.textContent = price.bid;
  ask.textContent = price.ask;
  mid.textContent = price.mid;
  time.textContent = clock(price.time);
  origin.textContent = source;
  updates.textContent = Number(updates.textContent) + 1;
  simulated[source === "simulated" ? "add" : "delete"](instrument);
  byId("simulated").hidden = simulated.size === 0;
}

/** Adds a line to the alerts: info, warning, critical or error. Keeps the newest hundred. */
export function showNotice(severity, text, timestamp = Date.now()) {
  const item = document.createElement("li");
  item.dataset.severity = severity;
  item.textContent = `${clock(timestamp)} ${severity}: ${text}`;
  notices.prepend(item);
  if (notices.children.length > 100) notices.lastElementChild.remove();
}

/** Formats a time in the reader's time zone. */
export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

function rowOf(instrument) {
  const rows = [...prices.rows];
  const next = rows.findIndex((row) => row.cells[0].textContent >= instrument);
  if (next >= 0 && rows[next].cells[0].textContent === instrument) return rows[next];
  const row = prices.insertRow(next);
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = instrument;
  row.append(name);
  for (let cell = 0; cell < 6; cell++) row.insertCell();
  return row;
}
