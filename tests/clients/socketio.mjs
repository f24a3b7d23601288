// A stock socket.io client that prints what it gets: one line a price or alert, as JSON text.
// usage: node socketio.mjs URL TRANSPORT PAIRS [SINCE]   (PAIRS is JSON: "*" or a list)
import { io } from "socket.io-client";

const [url, transport, pairs, since] = process.argv.slice(2);
const socket = io(url, { transports: [transport], reconnection: false });
const print = (line) => process.stdout.write(line + "\n");

socket.on("connect", () => {
  const request = { pairs: JSON.parse(pairs) };
  if (since) request.since = since;
  socket.emit("subscribe", request);
});
socket.on("subscription_confirmed", (data) => print("opened " + JSON.stringify(data)));
for (const event of ["price_update", "volatility_alert", "correlation_alert", "data_ready", "gap"]) {
  socket.on(event, (data) => print(event + " " + JSON.stringify(data)));
}
for (const event of ["connect_error", "subscription_error", "server_error"]) {
  socket.on(event, (data) => print(event + " " + JSON.stringify({ message: data.message, error: data.error })));
}
socket.on("disconnect", (reason) => {
  print("closed " + JSON.stringify({ reason }));
  process.exit(0);
});
