// All features of the stock client, for each version and each transport, in Node.
import { after, before, describe, test } from "node:test";
import { clients, runs, transports } from "./support/clients.js";
import { expected } from "./support/expected.js";
import { within, startEcho } from "./support/programs.js";
import { helpers, scenarios } from "./support/scenarios.js";

let echo;
before(async () => {
  echo = await startEcho();
});
after(() => echo?.stop());

for (const client of clients) {
  const { version, io, old } = client;
  for (const { name, transports: wanted } of transports) {
    describe(`socket.io-client ${version} over ${name}`, () => {
      for (const [scenario, run] of Object.entries(scenarios).filter(([scenario]) => runs(client, scenario))) {
        test(`${scenario} (${old ? "X-02" : "X-01"})`, async () => {
          const received = await within(scenario, run({ io, old, url: echo.url, transports: wanted }, helpers));
          expected[scenario](JSON.parse(JSON.stringify(received)), name);
        });
      }
    });
  }
}
