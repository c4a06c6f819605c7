// The expected result of each scenario of scenarios.js, for every client and transport.
import assert from "node:assert/strict";

const range = (count) => Array.from({ length: count }, (_, n) => n);

export const expected = {
  transport: (received, transport) =>
    assert.deepEqual(received, { name: transport === "polling" ? "polling" : "websocket", connected: false }),
  auth: (received) => assert.deepEqual(received, { received: [{ token: "abc", nested: { deep: [1] } }], late: [{ late: 1 }] }),
  messages: (received) =>
    assert.deepEqual(received, [[], [1, "2", { 3: [true] }], [null], ["ünï☃😀\u2028 \u0000"], ["x".repeat(50_000)]]),
  order: (received) => assert.deepEqual(received, range(300)),
  acks: (received) => assert.deepEqual(received, [[], [1, "2", { 3: [false] }], ["a"], ["b"], ["c"]]),
  asked: (received) =>
    assert.deepEqual(received, { questions: [[], ["why", { not: 1 }]], received: [["because", 0], ["because", 2]] }),
  binary: (received) =>
    assert.deepEqual(received, {
      received: [[1, 2, 3], { deep: [[0, 255]] }, "text", []],
      tens: [range(10).map((n) => Array(n * 100).fill(n))],
      acked: [[7]],
      replied: [[8], [9]],
    }),
  namespaces: (received) =>
    assert.deepEqual(received, {
      received: { main: ["for main", "still there"], custom: ["for custom", "back again"] },
      ids: true,
      sessions: 1,
    }),
  refusals: (received) => assert.deepEqual(received, ["Invalid namespace", "not you", "nor you"]),
  oldRefusals: (received) => assert.equal(received, "Invalid namespace"),
  query: (received) => assert.deepEqual(received, [{}]),
  disconnect: (received) => assert.deepEqual(received, { reason: "io client disconnect", received: ["again"] }),
};
