// A React hook: a component receives a room while it is mounted.
//
//   const nodevent = connect({ key: (room) => fetchKey(room.id) });   // once, outside of components
//   const { joined, error } = useRoom(nodevent, `Discussion_${id}`, { update: setDiscussion, gap: reload });
import { useEffect, useRef, useState } from "react";

const components = new Map(); // room → how many components use it: the last one leaves

export function useRoom(nodevent, name, handlers) {
  const [state, setState] = useState({ joined: false, error: null });
  const latest = useRef(handlers);
  useEffect(() => void (latest.current = handlers));

  useEffect(() => {
    const room = nodevent.room(name);
    // Names come from the network: only what the component itself has is a handler.
    const call = (event, message) => Object.hasOwn(latest.current, event) && latest.current[event](message);
    const undo = [
      room.onAny(call),
      room.on("gap", (position) => call("gap", position)),
      room.on("join", (err) => setState({ joined: !err, error: err })),
      room.on("leave", (err) => setState({ joined: false, error: err ?? null })),
    ];
    components.set(room, (components.get(room) ?? 0) + 1);
    room.join();
    return () => {
      for (const remove of undo) remove();
      const others = components.get(room) - 1;
      components.set(room, others);
      if (!others) room.leave();
    };
  }, [nodevent, name]);

  return state;
}
