// Draws the samples of a soak test as SVG: one row per series, over time.

const WIDTH = 720;
const ROW = 110;
const LEFT = 90;

/** @param {{ time: number }[]} samples @param {[string, string][]} series key and title @param {[number, string][]} events */
export function plot(samples, series, events) {
  const end = samples.at(-1).time;
  const x = (time) => LEFT + (time / end) * (WIDTH - LEFT - 20);
  const rows = series.map(([key, title], row) => {
    const top = row * ROW + 30;
    const values = samples.map((sample) => sample[key]);
    const max = Math.max(1, ...values);
    const y = (value) => top + 70 - (value / max) * 70;
    const points = samples.map((sample) => `${x(sample.time).toFixed(1)},${y(sample[key]).toFixed(1)}`).join(" ");
    return `<text x="${LEFT}" y="${top - 8}">${title}</text><text x="${LEFT - 8}" y="${top + 8}" text-anchor="end">${round(max)}</text>
<text x="${LEFT - 8}" y="${top + 72}" text-anchor="end">0</text><line x1="${LEFT}" x2="${WIDTH - 20}" y1="${top + 70}" y2="${top + 70}" stroke="#999"/>
<polyline points="${points}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>`;
  });
  const height = series.length * ROW + 40;
  const marks = events.map(([time, title]) => `<line x1="${x(time)}" x2="${x(time)}" y1="20" y2="${height - 30}" stroke="#d0433b" stroke-dasharray="3 3"/>
<text x="${x(time) + 4}" y="${height - 20}" fill="#d0433b">${title}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
${[...rows, ...marks].join("\n")}
<text x="${WIDTH - 20}" y="${height - 6}" text-anchor="end">${Math.round(end)} s</text>
</svg>
`;
}

function round(value) {
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}
