// Owns: moving a session from polling to WebSocket without losing or reordering a packet. Where that
// fails, for whatever reason, the session stays where it is.

const NEXT = "websocket";

/** @param {import("./session.js").Session} session that has just opened */
export function upgrade(session) {
  const polling = session.transport;
  const { transports, upgrade: wanted } = session._options;
  const offered = transports.includes(NEXT) && session._handshake.upgrades?.includes(NEXT);
  if (session.readyState !== "open" || polling.name === NEXT || wanted === false || !offered) return;

  const failed = () => {
    if (session._probe !== probe) return;
    session._probe = undefined;
    probe._close();
    if (polling._paused) polling._resume();
  };
  const move = () => {
    if (session._probe !== probe) return;
    session._probe = undefined;
    probe._send(["5"]);
    session.transport = probe;
    session._fire("upgrade", probe);
    session._flush();
  };
  /** @type {any} */
  let probe;
  try {
    probe = session._probe = session._make(NEXT, {
      _opened: () => probe._send(["2probe"]),
      _packet: (packet) => {
        if (probe === session.transport) session._packet(packet);
        else if (packet === "3probe") polling._pause(move);
        else failed();
      },
      _closed: (reason, details) => {
        if (probe === session.transport) session._end(reason, details);
        else failed();
      },
    });
  } catch {
    // There is no WebSocket here, or it may not be used.
  }
}
