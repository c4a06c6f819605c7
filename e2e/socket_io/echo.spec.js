// All features of the stock client, for each version and each transport, in Node. X-01
import { after, before, describe, test } from "node:test";
import { clients, transports } from "./support/clients.js";
import { expected } from "./support/expected.js";
import { within, startEcho } from "./support/programs.js";
import { helpers, scenarios } from "./support/scenarios.js";

let echo;
before(async () => {
  echo = await startEcho();
});
after(() => echo?.stop());

for (const { version, io } of clients) {
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name}`, () => {
      for (const [scenario, run] of Object.entries(scenarios)) {
        test(`${scenario} (X-01)`, async () => {
          const received = await within(scenario, run({ io, url: echo.url, transports: wanted }, helpers));
          expected[scenario](JSON.parse(JSON.stringify(received)), name);
        });
      }
    });
  }
}
