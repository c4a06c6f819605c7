// Reports to the application that this page is open, every fifteen seconds, and when it closes.
const INTERVAL = 15_000;

/** @param {(count: {here: number}) => void} counted  receives the number of open pages, including this one */
export function reportPresence(discussion, counted) {
  const form = new FormData();
  form.set("tab", crypto.randomUUID?.() ?? String(Math.random()).slice(2));
  form.set("authenticity_token", document.querySelector("meta[name=csrf-token]")?.content ?? "");
  const here = async () => {
    if (document.visibilityState !== "visible") return;
    const request = { method: "POST", body: form, headers: { Accept: "application/json" }, keepalive: true };
    const response = await fetch(`/discussions/${discussion}/presence`, request).catch(() => null);
    if (response?.ok) counted(await response.json());
  };
  here();
  setInterval(here, INTERVAL);
  document.addEventListener("visibilitychange", here);
  addEventListener("pagehide", () => navigator.sendBeacon(`/discussions/${discussion}/presence/end`, form));
  addEventListener("pageshow", ({ persisted }) => persisted && here());
}
