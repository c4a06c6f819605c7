// Relative times such as "5 minutes ago", updated regularly.
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

export function showTime(node, iso) {
  node.dateTime = iso;
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, size]) => -seconds >= size) ?? [];
  node.textContent = unit ? words.format(Math.ceil(seconds / length), unit) : "just now";
}

export function keepTime() {
  const all = () => document.querySelectorAll("time[data-time]").forEach((node) => showTime(node, node.dateTime));
  all();
  setInterval(all, 20_000);
}
