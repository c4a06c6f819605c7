// What each scenario of scenarios.js must have heard, whatever the client and the transport.
import assert from "node:assert/strict";

const range = (count) => Array.from({ length: count }, (_, n) => n);

export const expected = {
  transport: (heard, transport) =>
    assert.deepEqual(heard, { name: transport === "polling" ? "polling" : "websocket", connected: false }),
  auth: (heard) => assert.deepEqual(heard, { heard: [{ token: "abc", nested: { deep: [1] } }], late: [{ late: 1 }] }),
  messages: (heard) =>
    assert.deepEqual(heard, [[], [1, "2", { 3: [true] }], [null], ["ünï☃😀\u2028 \u0000"], ["x".repeat(50_000)]]),
  order: (heard) => assert.deepEqual(heard, range(300)),
  acks: (heard) => assert.deepEqual(heard, [[], [1, "2", { 3: [false] }], ["a"], ["b"], ["c"]]),
  asked: (heard) =>
    assert.deepEqual(heard, { questions: [[], ["why", { not: 1 }]], heard: [["because", 0], ["because", 2]] }),
  binary: (heard) =>
    assert.deepEqual(heard, {
      heard: [[1, 2, 3], { deep: [[0, 255]] }, "text", []],
      tens: [range(10).map((n) => Array(n * 100).fill(n))],
      acked: [[7]],
      answered: [[8], [9]],
    }),
  namespaces: (heard) =>
    assert.deepEqual(heard, {
      heard: { main: ["for main", "still there"], custom: ["for custom", "back again"] },
      ids: true,
      sessions: 1,
    }),
  refusals: (heard) => assert.deepEqual(heard, ["Invalid namespace", "not you", "nor you"]),
  query: (heard) => assert.deepEqual(heard, [{}]),
  goodbye: (heard) => assert.deepEqual(heard, { reason: "io client disconnect", heard: ["again"] }),
};
