// Owns: rendering `<turbo-stream>` elements. Turbo does it if the page has it. Otherwise this file does what Turbo Streams
// are documented to do, without morphing.

const page = /** @type {any} */ (globalThis);

/** Streams that wait until it is known whether the page has Turbo. More of them are a gap. */
const MAX_WAITING = 1000;

/** @type {string[]} */
const waiting = [];
/** @type {(() => void) | undefined} what the first stream that did not fit does about it */
let onTooMany;

const hasTurbo = () => !!customElements.get("turbo-stream");

/** True as soon as all scripts of the page have run. */
const isLoaded = () => document.readyState === "complete";

/** Renders streams in order. @param {string} html @param {() => void} onLost called if the page cannot render them */
export function renderStreams(html, onLost) {
  if (hasTurbo() || isLoaded()) return renderNow(html);
  if (!waiting.length && !onTooMany) {
    customElements.whenDefined("turbo-stream").then(flush);
    page.addEventListener("load", flush, { once: true });
  }
  if (waiting.length < MAX_WAITING) waiting.push(html);
  else onTooMany ||= onLost;
}

function flush() {
  const streams = waiting.splice(0);
  if (onTooMany) return onTooMany();
  for (const html of streams) renderNow(html);
}

/** @param {string} html */
function renderNow(html) {
  if (page.Turbo?.renderStreamMessage) return page.Turbo.renderStreamMessage(html);
  const { content } = template(html);
  // Turbo's element acts as soon as it is in the page.
  if (hasTurbo()) return document.documentElement.append(document.importNode(content, true));
  for (const stream of content.querySelectorAll("turbo-stream")) perform(stream);
}

/** @param {string} html */
const template = (html) => Object.assign(document.createElement("template"), { innerHTML: html });

/** Loads the page again: without a visible reload, if Turbo is there. */
export function refreshPage() {
  const { Turbo } = page;
  if (Turbo?.session?.refresh) Turbo.session.refresh(location.href);
  else if (Turbo?.visit) Turbo.visit(location.href, { action: "replace" });
  else location.reload();
}

/** @type {{[action: string]: (target: Element, content: DocumentFragment) => void}} */
const ACTIONS = {
  append: (target, content) => target.append(withoutDuplicates(target, content)),
  prepend: (target, content) => target.prepend(withoutDuplicates(target, content)),
  before: (target, content) => target.before(content),
  after: (target, content) => target.after(content),
  replace: (target, content) => target.replaceWith(content),
  update: (target, content) => target.replaceChildren(content),
  remove: (target) => target.remove(),
};

/** Removes the children of the target that the content has, too. @param {Element} target @param {DocumentFragment} content */
function withoutDuplicates(target, content) {
  const ids = new Set(Array.from(content.children, ({ id }) => id).filter(Boolean));
  // A copy, because the list is live.
  for (const child of Array.from(target.children)) if (ids.has(child.id)) child.remove();
  return content;
}

/** @param {Element} stream */
function perform(stream) {
  const [action, target, targets] = ["action", "target", "targets"].map((name) => stream.getAttribute(name));
  if (action === "refresh") return refreshPage();
  const run = Object.hasOwn(ACTIONS, action || "") && ACTIONS[/** @type {string} */ (action)];
  if (!run) return console.warn(`NoDevent: the page has no Turbo, without which the stream action ${JSON.stringify(action)} is unknown.`);
  const elements = target ? [document.getElementById(target)] : targets ? document.querySelectorAll(targets) : [];
  const content = stream.querySelector("template")?.content || document.createDocumentFragment();
  for (const element of elements) if (element) run(element, document.importNode(content, true));
}
