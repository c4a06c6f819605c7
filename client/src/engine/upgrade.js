// Owns: moving a session from polling to WebSocket without losing or reordering packets. If the
// upgrade fails for any reason, the session continues with polling.

const NEXT = "websocket";

/** @param {import("./session.js").Session} session that has just opened */
export function upgrade(session) {
  const polling = session.transport;
  const { transports, upgrade: enabled } = session._options;
  const offered = transports.includes(NEXT) && session._handshake.upgrades?.includes(NEXT);
  if (session.readyState !== "open" || polling.name === NEXT || enabled === false || !offered) return;

  const abandon = () => {
    if (session._probe !== probe) return;
    session._probe = undefined;
    probe._close();
    if (polling._onPaused) polling._resume();
  };
  const complete = () => {
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
    probe = session._probe = session._createTransport(NEXT, {
      _onOpen: () => probe._send(["2probe"]),
      _onPacket: (packet) => {
        if (probe === session.transport) session._onPacket(packet);
        else if (packet === "3probe") polling._pause(complete);
        else abandon();
      },
      _onClose: (reason, details) => {
        if (probe === session.transport) session._end(reason, details);
        else abandon();
      },
    });
  } catch {
    // WebSocket does not exist here, or is forbidden.
  }
}
