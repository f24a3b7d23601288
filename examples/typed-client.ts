// Prints prices and alerts, with the gateway's event types: a misspelt member or event does not compile.
//
//   npm install
//   curl -O http://localhost:5001/docs/events.d.ts
//   node typed-client.ts [URL] [PAIR ...]

import { io, type Socket } from "socket.io-client";
import type { ClientEvents, ServerEvents } from "./events.d.ts";

const [url = "http://localhost:5001", ...pairs] = process.argv.slice(2);
const socket: Socket<ServerEvents, ClientEvents> = io(url);
let lastId: string | undefined; // of the last event, to resume from after a lost connection

socket.on("connect", () => {
  const wanted = { pairs: pairs.length ? pairs : ["EUR_USD", "GBP_USD"], ...(lastId && { since: lastId }) };
  socket.emit("subscribe", wanted, (answer) => {
    console.log("error" in answer ? `Error: ${answer.error}` : `Subscribed to ${answer.pair_count} pairs`);
  });
});
socket.on("price_update", ({ id, instrument, price, source }) => {
  lastId = id ?? lastId;
  console.log(`${instrument}: ${price.mid}${source === "simulated" ? " (simulated)" : ""}`);
});
socket.on("price_alert", ({ id, severity, message }) => {
  lastId = id ?? lastId;
  console.log(`${severity}: ${message}`);
});
socket.on("volatility_alert", ({ id, severity, message }) => {
  lastId = id ?? lastId;
  console.log(`${severity}: ${message}`);
});
socket.on("correlation_alert", ({ id, severity, message }) => {
  lastId = id ?? lastId;
  console.log(`${severity}: ${message}`);
});
socket.on("gap", ({ missed, message }) => console.log(`Gap: ${message}${missed === null ? "" : ` (${missed})`}`));

// The client reconnects by itself, but not after the gateway has refused it.
function reconnect(): void {
  if (!socket.active) setTimeout(() => socket.connect(), 2000);
}
socket.on("disconnect", reconnect);
socket.on("connect_error", reconnect);
