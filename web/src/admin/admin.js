// @ts-check
import "../style.css";
import "./admin.css";
import { History } from "./history.js";
import * as token from "./token.js";
import { View } from "./view.js";
import { Watch } from "./watch.js";
import { duration } from "./words.js";

const history = new History();
const view = new View(history);
const watch = new Watch(hear);
const form = /** @type {HTMLFormElement} */ (byId("entry-form"));
const field = /** @type {HTMLInputElement} */ (byId("token"));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = field.value.trim();
  if (!given) return;
  token.keep(given);
  say("connecting", "Connecting");
  byId("entry-problem").textContent = "";
  watch.start(given);
});
byId("forget").addEventListener("click", () => close(""));
setInterval(tellAge, 1000);

if (token.token()) {
  say("connecting", "Connecting");
  watch.start(token.token());
} else close("");

/** @param {import("./state.js").Told | import("./state.js").NotTold} outcome */
function hear(outcome) {
  if (outcome.kind === "refused") return close(outcome.reason);
  const now = performance.now() / 1000;
  if (outcome.kind === "state") {
    open();
    history.add(outcome.state, now);
    say("live", "Live");
    view.show();
  } else {
    say("offline", outcome.reason);
    if (!history.newest) byId("entry-problem").textContent = `${outcome.reason} Retrying every few seconds.`;
  }
  view.draw(now);
  tellAge();
}

/** Show the figures instead of the form. */
function open() {
  if (!byId("view").hidden) return;
  const entered = form.contains(document.activeElement);
  byId("entry").hidden = true;
  byId("view").hidden = false;
  byId("forget").hidden = false;
  byId("entry-problem").textContent = "";
  field.value = "";
  if (entered) byId("view").focus({ preventScroll: true }); // or keyboard focus would return to the top
}

/** Forget the token and the figures, and ask for a token. @param {string} reason why the last one was refused */
function close(reason) {
  watch.stop();
  token.forget();
  history.clear();
  view.clear();
  byId("view").hidden = true;
  byId("forget").hidden = true;
  byId("entry").hidden = false;
  byId("entry-problem").textContent = reason;
  say("closed", "");
  tellAge();
  field.value = "";
  field.focus();
}

/** @param {string} connection @param {string} words */
function say(connection, words) {
  document.body.dataset.connection = connection;
  const state = byId("state");
  if (state.textContent !== words) state.textContent = words; // a change is announced by screen readers
}

/** Show the age of the figures while the gateway is away. */
function tellAge() {
  const newest = history.newest;
  const away = newest && document.body.dataset.connection === "offline";
  byId("age").textContent = away ? `Figures are ${duration(1000 * Math.round(performance.now() / 1000 - newest.time))} old` : "";
}

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
