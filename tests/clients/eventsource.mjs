// A stock EventSource for Node that prints what it gets: one line an event, its data as it came.
// usage: node eventsource.mjs URL
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
const print = (line) => process.stdout.write(line + "\n");

source.addEventListener("stream_opened", (event) => print("opened " + event.data));
for (const type of ["price_update", "volatility_alert", "correlation_alert", "data_ready", "gap"]) {
  source.addEventListener(type, (event) => print(type + " " + event.data));
}
source.onerror = (event) => print("error " + JSON.stringify({ code: event.code ?? null }));
