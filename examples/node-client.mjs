// Prints prices and alerts, and resumes after a lost connection.
//
//   npm install
//   node node-client.mjs [URL] [PAIR ...]

import { io } from "socket.io-client";

const [url = "http://localhost:5001", ...pairs] = process.argv.slice(2);
const socket = io(url);
let lastId; // of the last event, to resume from after a lost connection

socket.on("connect", () => {
  socket.emit("subscribe", { pairs: pairs.length ? pairs : ["EUR_USD", "GBP_USD"], since: lastId });
});
socket.on("connection_established", ({ client_id }) => console.log(`Connected with ID: ${client_id}`));
socket.on("subscription_confirmed", ({ pair_count, recovered }) => {
  console.log(`Subscribed to ${pair_count} pairs`);
  if (recovered === false) console.log("The missed events are no longer kept; the newest prices follow");
});

for (const event of [
  "price_update", "volatility_alert", "correlation_alert", "price_alert", "source_changed", "feed_status", "data_ready",
]) {
  socket.on(event, ({ id }) => { lastId = id ?? lastId; });
}
socket.on("price_update", ({ instrument, price, source }) => {
  console.log(`${instrument}: ${price.mid}${source === "simulated" ? " (simulated)" : ""}`);
});
socket.on("volatility_alert", ({ severity, instrument, message }) => console.log(`${severity}: ${instrument}: ${message}`));
socket.on("price_alert", ({ severity, message }) => console.log(`${severity}: ${message}`));
socket.on("source_changed", ({ source, reason }) => console.log(`Prices come from ${source} now: ${reason}`));
socket.on("feed_status", ({ message }) => console.log(message));
socket.on("correlation_alert", ({ severity, pair1, pair2, correlation }) => {
  console.log(`${severity}: Correlation ${pair1} <-> ${pair2}: ${correlation}`);
});
socket.on("data_ready", ({ message }) => console.log(message));
socket.on("gap", ({ message }) => console.log(`Gap: ${message}`));

for (const event of ["subscription_error", "server_error"]) {
  socket.on(event, ({ error, message }) => console.log(`Error: ${error} (${message})`));
}

// The client reconnects by itself, but not after the gateway has refused it.
function reconnect() {
  if (!socket.active) setTimeout(() => socket.connect(), 2000);
}
socket.on("disconnect", (reason) => {
  console.log(`Disconnected: ${reason}`);
  reconnect();
});
socket.on("connect_error", (error) => {
  console.log(`Not connected: ${error.message}`);
  reconnect();
});
