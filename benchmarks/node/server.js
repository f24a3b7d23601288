// Socket.IO on Node, written as its documentation shows: `node server.js REDIS_SOCKET PAIRS`. It reads the
// same log as the gateway.

import { createServer } from "node:http";

import { createClient } from "@redis/client";
import { Server } from "socket.io";

const [redisSocket, trackedPairs] = process.argv.slice(2);
const http = createServer();
const io = new Server(http);

io.on("connection", (socket) => {
  socket.on("subscribe", ({ pairs }) => {
    socket.join(pairs === "*" ? trackedPairs.split(",") : pairs);
    socket.emit("subscription_confirmed", { pairs });
  });
});

const redis = await createClient({ socket: { path: redisSocket } }).connect();

async function follow() {
  for (let cursor = "0-0"; ; ) {
    const streams = await redis.xRead({ key: "fx:events", id: cursor }, { COUNT: 512, BLOCK: 2000 });
    for (const { id, message } of streams?.[0].messages ?? []) {
      cursor = id;
      if (message.t === "price_update") {
        const payload = JSON.parse(message.d);
        io.to(payload.instrument).emit("price_update", { id, ...payload });
      }
    }
  }
}

process.on("SIGTERM", () => process.exit(0));
http.listen(0, "127.0.0.1", () => {
  console.log(`Ready on http://127.0.0.1:${http.address().port}`);
  follow();
});
