// The WebSocket of Node that prints what it gets from /ws: one line an event, its data as it came.
// usage: node websocket.mjs URL
const EVENTS = ["price_update", "volatility_alert", "correlation_alert", "data_ready", "gap", "server_error"];
const socket = new WebSocket(process.argv[2]);
const print = (line) => process.stdout.write(line + "\n");

socket.onmessage = ({ data: text }) => {
  const { type, data } = JSON.parse(text);
  if (type === "stream_opened") print("opened " + JSON.stringify(data));
  else if (EVENTS.includes(type)) print(type + " " + text.slice(text.indexOf('"data":') + 7, -1));
};
socket.onclose = ({ code, reason }) => print("closed " + JSON.stringify({ code, reason }));
