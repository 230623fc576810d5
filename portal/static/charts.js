/* Charts: [data-charts] says where the numbers are, each [data-chart] below it is drawn by its name; tables stand beside. */
"use strict";

const SHADES = ["--accent", "--waiting", "--bad", "--good", "--ink-soft", "--line-strong"];

function inWords(unit, value) {
  if (value === null || value === undefined) return "–";
  if (unit === "per mille") return `${(value / 10).toFixed(1)} %`;
  if (unit === "seconds") return `${value} s`;
  if (unit !== "bytes") return String(value);
  const power = value < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** power).toFixed(power ? 1 : 0)} ${["B", "KB", "MB", "GB", "TB"][power]}`;
}

function draw(place, chart) {
  const shade = (name) => getComputedStyle(place).getPropertyValue(name).trim();
  const axis = { stroke: shade("--ink-soft"), grid: { stroke: shade("--line"), width: 1 }, ticks: { stroke: shade("--line"), width: 1 } };
  const language = document.documentElement.lang;
  const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone: "UTC" });
  const hour = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "numeric", minute: "2-digit", timeZone: "UTC" });
  const short = (seconds) => (seconds % 86400 ? "" : day.format(new Date(seconds * 1000)));
  const said = (seconds) => (seconds === null ? "–" : (chart.hours ? hour : day).format(new Date(seconds * 1000)));
  const lines = chart.labels.map((label, number) => ({
    label, stroke: shade(SHADES[number % SHADES.length]), width: 2, points: { show: true, size: 5 },
    value: (_, value) => inWords(chart.unit, value),
  }));
  place.hidden = false;
  const size = () => ({ width: place.clientWidth, height: 220 });
  const drawn = new uPlot({
    ...size(),
    scales: { x: { time: true }, y: { range: (_, __, most) => [0, Math.max(most || 0, 1) * 1.05] } },
    series: [{ label: chart.day, value: (_, seconds) => said(seconds) }, ...lines],
    axes: [
      { ...axis, values: (_, splits) => splits.map(short) },
      { ...axis, size: 70, values: (_, splits) => splits.map((at) => (Number.isInteger(at) ? inWords(chart.unit, at) : "")) },
    ],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
  }, [chart.days, ...chart.lines], place);
  const fit = new ResizeObserver(() => { if (place.clientWidth !== drawn.width) drawn.setSize(size()); });
  fit.observe(place);
  const again = () => { fit.disconnect(); drawn.destroy(); draw(place, chart); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { once: true });
}

for (const all of document.querySelectorAll("[data-charts]")) {
  fetch(all.dataset.charts).then((response) => (response.ok ? response.json() : {})).then((charts) => {
    for (const place of all.querySelectorAll("[data-chart]")) {
      if (charts[place.dataset.chart]) draw(place, charts[place.dataset.chart]);
    }
  });
}
