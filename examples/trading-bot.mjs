// The skeleton of a trading bot: it follows every pair and shows where your own logic goes. It does not trade.
//
//   npm install
//   node trading-bot.mjs [URL]

import { io } from "socket.io-client";

class FXTradingBot {
  constructor(url) {
    this.prices = {};
    this.volatilities = {};
    this.lastId = undefined; // of the last event, to resume from after a lost connection
    this.socket = io(url);
    this.setupListeners();
  }

  setupListeners() {
    this.on("connect", () => {
      console.log("Bot connected");
      // With max_hz, a resume returns every missed alert, but of each pair only the newest price.
      this.socket.emit("subscribe", { pairs: "*", since: this.lastId, max_hz: 5 });
    });
    this.on("price_update", ({ instrument, price, source }) => {
      this.prices[instrument] = price;
      this.evaluateTradeOpportunity(instrument, source);
    });
    this.on("volatility_alert", ({ instrument, volatility, severity }) => {
      this.volatilities[instrument] = volatility;
      if (severity === "critical") this.executeRiskManagement(instrument);
    });
    this.on("correlation_alert", ({ pair1, pair2, correlation }) => this.evaluateHedge(pair1, pair2, correlation));
    this.on("gap", ({ message }) => this.forgetPrices(message));
    this.on("subscription_error", ({ error, message }) => console.log(`Error: ${error} (${message})`));
    this.on("server_error", ({ error, message }) => console.log(`Error: ${error} (${message})`));
    this.on("disconnect", (reason) => this.standBy(reason));
    this.on("connect_error", (error) => this.standBy(error.message));
  }

  on(event, listener) {
    this.socket.on(event, (data) => {
      this.lastId = data?.id ?? this.lastId;
      listener(data);
    });
  }

  evaluateTradeOpportunity(instrument, source) {
    const note = source === "simulated" ? " (simulated, for practice only)" : "";
    console.log(`Evaluating trade for ${instrument} at ${this.prices[instrument].mid}${note}`);
  }

  executeRiskManagement(instrument) {
    console.log(`Executing risk management for ${instrument} at volatility ${this.volatilities[instrument]}`);
  }

  evaluateHedge(pair1, pair2, correlation) {
    console.log(`Evaluating hedge: ${pair1} <-> ${pair2} (${correlation})`);
    if (correlation < -0.5) console.log("Strong negative correlation: a good hedge opportunity");
  }

  forgetPrices(reason) {
    console.log(`Discarding earlier prices: ${reason}`);
    this.prices = {};
  }

  standBy(reason) {
    this.forgetPrices(reason);
    // The client reconnects by itself, but not after the gateway has refused it.
    if (!this.socket.active) setTimeout(() => this.socket.connect(), 2000);
  }
}

new FXTradingBot(process.argv[2] ?? "http://localhost:5001");
