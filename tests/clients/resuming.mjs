// A stock socket.io client that reconnects by itself, resumes from its last id, and prints what it gets as JSON lines.
// usage: node resuming.mjs URL TRANSPORT
import { io } from "socket.io-client";

const [url, transport] = process.argv.slice(2);
const socket = io(url, { transports: [transport] });
const print = (type, body) => process.stdout.write(JSON.stringify({ type, body, at: Date.now() }) + "\n");
let last;

socket.on("connect", () => socket.emit("subscribe", last ? { pairs: "*", since: last } : { pairs: "*" }));
socket.on("connect_error", (error) => print("cut", error.message));
socket.on("disconnect", (reason) => {
  print("cut", reason);
  if (reason === "io server disconnect") socket.connect();
});
socket.onAny((type, body) => {
  last = body.id ?? last;
  print(type, body);
});
