// Runs in pages: one interface to the clients, which are those of npm. Each client creates subscriptions from the parameters of
// `turbo_stream_from`, and reports what happens to them.

/** @rails/actioncable. */
export const rails = ({ createConsumer }, url) => {
  const consumer = createConsumer(url);
  return (params, report) => {
    const subscription = consumer.subscriptions.create(params, {
      connected: () => report("connected"),
      disconnected: () => report("disconnected"),
      received: (message) => report({ message }),
    });
    return () => subscription.unsubscribe();
  };
};

/** @anycable/web. */
export const anycable = ({ createCable }, url, protocol) => {
  const cable = createCable(url, { protocol });
  return ({ channel: name, ...params }, report) => {
    const channel = cable.subscribeTo(name, params);
    channel.on("connect", () => report("connected"));
    channel.on("disconnect", () => report("disconnected"));
    channel.on("message", (message) => report({ message }));
    // A second one with the same identifier is connected already.
    if (channel.state === "connected") report("connected");
    return () => channel.disconnect();
  };
};

/** The element of @hotwired/turbo-rails. It takes the address from the page. */
export const turbo = () => ({ channel, signed_stream_name: name, ...data }, report) => {
  const element = document.createElement("turbo-cable-stream-source");
  element.setAttribute("channel", channel);
  element.setAttribute("signed-stream-name", name);
  for (const [key, value] of Object.entries(data)) element.setAttribute(`data-${key.replaceAll("_", "-")}`, value);
  element.addEventListener("message", ({ data: message }) => report({ message }));
  const isConnected = () => element.hasAttribute("connected");
  new MutationObserver(() => report(isConnected() ? "connected" : "disconnected")).observe(element, { attributeFilter: ["connected"] });
  document.body.append(element);
  return () => element.remove();
};

const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Makes the page's interface for the tests. */
export function start(subscribe) {
  const all = new Map();
  window.subscriptions = {
    add(name, params) {
      const log = [];
      all.set(name, { log, params, end: subscribe(params, (entry) => log.push(entry)) });
    },
    end: (name) => all.get(name).end(),
    log: (name) => all.get(name).log,
    /** As Turbo does for a preview, which is replaced within a moment: ends, subscribes, ends, and subscribes again. */
    async again(name) {
      const { params, end } = all.get(name);
      const began = performance.now();
      end();
      const endPreview = subscribe(params, () => {});
      await pause();
      endPreview();
      this.add(name, params);
      return performance.now() - began;
    },
  };
}
