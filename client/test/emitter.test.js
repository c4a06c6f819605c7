// The emitter, the base of all other layers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "../src/emitter.js";

test("a listener receives the arguments, with the emitter as this", () => {
  const emitter = new Emitter();
  let received;
  emitter.on("e", function (...args) {
    received = [this, ...args];
  });
  emitter._fire("e", 1, 2);
  assert.deepEqual(received, [emitter, 1, 2]);
});

test("once runs once, also if the listener fires the event again", () => {
  const emitter = new Emitter();
  let count = 0;
  emitter.once("e", () => {
    count++;
    emitter._fire("e");
  });
  emitter._fire("e");
  assert.equal(count, 1);
  assert.deepEqual(emitter.listeners("e"), []);
});

test("a listener added with both once and on stays after an event", () => {
  const emitter = new Emitter();
  let count = 0;
  const fn = () => count++;
  emitter.on("e", fn).once("e", fn);
  emitter._fire("e");
  emitter._fire("e");
  assert.equal(count, 3);
  assert.deepEqual(emitter.listeners("e"), [fn]);
});

test("a listener may remove others and add itself while it runs", () => {
  const emitter = new Emitter();
  const received = [];
  const second = () => received.push("second");
  emitter.on("e", () => {
    received.push("first");
    emitter.off("e", second);
    emitter.on("e", () => received.push("late"));
  });
  emitter.on("e", second);
  emitter._fire("e");
  assert.deepEqual(received, ["first", "second"]);
  emitter._fire("e");
  assert.deepEqual(received, ["first", "second", "first", "late"]);
});

test("off removes one listener, those of an event, or all", () => {
  const emitter = new Emitter();
  const [a, b, c] = [() => {}, () => {}, () => {}];
  emitter.on("e", a).on("e", b).on("f", c);
  emitter.off("e", a);
  assert.deepEqual(emitter.listeners("e"), [b]);
  emitter.off("e");
  assert.deepEqual(emitter.listeners("e"), []);
  assert.deepEqual(emitter.listeners("f"), [c]);
  emitter.off();
  assert.deepEqual(emitter.listeners("f"), []);
});

test("a listener that was added twice is removed one at a time", () => {
  const emitter = new Emitter();
  const fn = () => {};
  emitter.on("e", fn).on("e", fn).off("e", fn);
  assert.deepEqual(emitter.listeners("e"), [fn]);
  emitter.off("e", () => {});
  assert.deepEqual(emitter.listeners("e"), [fn]);
});

test("__proto__ and constructor are ordinary event names", () => {
  const emitter = new Emitter();
  for (const name of ["__proto__", "constructor", "hasOwnProperty", "toString"]) {
    assert.deepEqual(emitter.listeners(name), []);
    let received = 0;
    emitter._fire(name);
    emitter.on(name, () => received++);
    emitter._fire(name);
    assert.equal(received, 1);
  }
  assert.equal({}.polluted, undefined);
});

test("an exception of a listener is reported and reaches neither the next listener nor the caller", async (t) => {
  const emitter = new Emitter();
  const reported = [];
  t.mock.method(globalThis, "queueMicrotask", (fn) => {
    try {
      fn();
    } catch (error) {
      reported.push(error.message);
    }
  });
  let second = 0;
  emitter.on("e", () => {
    throw new Error("oops");
  });
  emitter.on("e", () => second++);
  emitter._fire("e");
  assert.equal(second, 1);
  assert.deepEqual(reported, ["oops"]);
});
