// Runs in pages: one interface to the clients, which are those of npm. A client subscribes with the parameters of
// `turbo_stream_from`, and passes on messages. A subscription says whether it is connected, and ends.

/** @rails/actioncable. */
export const rails = ({ createConsumer }, url) => {
  const consumer = createConsumer(url);
  return (params, received) => {
    let isConnected = false;
    const subscription = consumer.subscriptions.create(params, {
      connected: () => (isConnected = true),
      disconnected: () => (isConnected = false),
      received,
    });
    return { isConnected: () => isConnected, end: () => subscription.unsubscribe() };
  };
};

/** @anycable/web. */
export const anycable = ({ createCable }, url, protocol) => {
  const cable = createCable(url, { protocol });
  return ({ channel: name, ...params }, received) => {
    const channel = cable.subscribeTo(name, params);
    channel.on("message", received);
    return { isConnected: () => channel.state === "connected", end: () => channel.disconnect() };
  };
};

/** The element of @hotwired/turbo-rails. It takes the address from the page. */
export const turbo = () => ({ channel, signed_stream_name: name, ...data }, received) => {
  const element = document.createElement("turbo-cable-stream-source");
  element.setAttribute("channel", channel);
  element.setAttribute("signed-stream-name", name);
  for (const [key, value] of Object.entries(data)) element.setAttribute(`data-${key.replaceAll("_", "-")}`, value);
  element.addEventListener("message", ({ data: message }) => received(message));
  document.body.append(element);
  return { isConnected: () => element.hasAttribute("connected"), end: () => element.remove() };
};

const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Makes the page's interface for the tests. */
export function start(subscribe) {
  const all = new Map();
  window.subscriptions = {
    add(name, params) {
      const messages = [];
      all.set(name, { messages, params, ...subscribe(params, (message) => messages.push(message)) });
    },
    end: (name) => all.get(name).end(),
    isConnected: (name) => all.get(name).isConnected(),
    messages: (name) => all.get(name).messages,
    /** As Turbo does for a preview, which is replaced within a moment: ends, subscribes, ends, and subscribes again. */
    async again(name) {
      const { params, end } = all.get(name);
      const began = performance.now();
      end();
      const preview = subscribe(params, () => {});
      await pause();
      preview.end();
      this.add(name, params);
      return performance.now() - began;
    },
  };
}
