// Tells the application that this page is open, again every fifteen seconds, and when it is closed.
const EVERY = 15_000;

/** @param {(count: {here: number}) => void} counted  hears how many pages are open, this one included */
export function reportPresence(discussion, counted) {
  const form = new FormData();
  form.set("tab", crypto.randomUUID?.() ?? String(Math.random()).slice(2));
  form.set("authenticity_token", document.querySelector("meta[name=csrf-token]")?.content ?? "");
  const here = async () => {
    if (document.visibilityState !== "visible") return;
    const request = { method: "POST", body: form, headers: { Accept: "application/json" }, keepalive: true };
    const answer = await fetch(`/discussions/${discussion}/presence`, request).catch(() => null);
    if (answer?.ok) counted(await answer.json());
  };
  here();
  setInterval(here, EVERY);
  document.addEventListener("visibilitychange", here);
  addEventListener("pagehide", () => navigator.sendBeacon(`/discussions/${discussion}/presence/end`, form));
  addEventListener("pageshow", ({ persisted }) => persisted && here());
}
