// @ts-check
import "./style.css";
import * as api from "./api.js";
import { Header } from "./header.js";
import { mount as alerts } from "./panels/alerts.js";
import { mount as chart } from "./panels/chart.js";
import { mount as heatmap } from "./panels/heatmap.js";
import { mount as levels } from "./panels/levels.js";
import { mount as sessions } from "./panels/sessions.js";
import { PriceTable } from "./price_table.js";
import { Store } from "./store.js";

const PANELS = { chart, heatmap, alerts, sessions, levels };

const store = new Store(api);
const table = new PriceTable(/** @type {any} */ (document.getElementById("prices")), store);
new Header(store, () => table.redraw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => table.redraw());
await store.start();
for (const [name, mount] of Object.entries(PANELS))
  mount(/** @type {any} */ (document.querySelector(`[data-panel="${name}"] .panel-body`)), { store, api });
