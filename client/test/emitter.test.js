// The emitter below everything.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Emitter } from "../src/emitter.js";

test("a listener hears the arguments, with the emitter as this", () => {
  const emitter = new Emitter();
  let heard;
  emitter.on("e", function (...args) {
    heard = [this, ...args];
  });
  emitter._fire("e", 1, 2);
  assert.deepEqual(heard, [emitter, 1, 2]);
});

test("once is once, also where the listener fires the event again", () => {
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

test("a listener that is there once and for good is, after an event, there for good", () => {
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
  const heard = [];
  const second = () => heard.push("second");
  emitter.on("e", () => {
    heard.push("first");
    emitter.off("e", second);
    emitter.on("e", () => heard.push("late"));
  });
  emitter.on("e", second);
  emitter._fire("e");
  assert.deepEqual(heard, ["first", "second"]);
  emitter._fire("e");
  assert.deepEqual(heard, ["first", "second", "first", "late"]);
});

test("off takes away one, those of an event, or all", () => {
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

test("a listener that was added twice is taken away one at a time", () => {
  const emitter = new Emitter();
  const fn = () => {};
  emitter.on("e", fn).on("e", fn).off("e", fn);
  assert.deepEqual(emitter.listeners("e"), [fn]);
  emitter.off("e", () => {});
  assert.deepEqual(emitter.listeners("e"), [fn]);
});

test("names of the network are no keys of a plain object: __proto__ and constructor are mere names", () => {
  const emitter = new Emitter();
  for (const name of ["__proto__", "constructor", "hasOwnProperty", "toString"]) {
    assert.deepEqual(emitter.listeners(name), []);
    let heard = 0;
    emitter._fire(name);
    emitter.on(name, () => heard++);
    emitter._fire(name);
    assert.equal(heard, 1);
  }
  assert.equal({}.polluted, undefined);
});

test("what a listener throws is reported and reaches neither the next listener nor the caller", async (t) => {
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
