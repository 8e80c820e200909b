// Plotly reads no CSS variables: the figures take their colours from the page, and are drawn again when it turns dark.
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const TOUCH = window.matchMedia("(pointer: coarse)").matches;
const NARROW = () => window.innerWidth < 640;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function axis(title, more) {
  return Object.assign({
    title: { text: title, standoff: 8, font: { size: 13, color: colour("muted") } }, gridcolor: colour("line"), zeroline: false, linecolor: colour("edge"),
    showline: true, ticks: "outside", tickcolor: colour("edge"), ticklen: 4, automargin: true,
  }, more);
}

function layout(x, y, more) {
  const font = getComputedStyle(document.body).fontFamily;
  return Object.assign({
    xaxis: x, yaxis: y, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    font: { family: font, size: 13, color: colour("ink") }, margin: { l: 8, r: 14, t: 12, b: 8 },
    legend: { orientation: "h", y: NARROW() ? -0.24 : -0.19, yanchor: "top", x: 0, font: { size: 12 } },
    dragmode: TOUCH ? false : "zoom", height: NARROW() ? 500 : 470, uirevision: "kept",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("edge"), font: { color: colour("ink"), family: font } },
  }, more);
}

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "autosize", scrollZoom: false };

// Ticks at 1, 2 and 5 of each decade, for a logarithmic axis.
function decades(values) {
  const [low, high] = [Math.min(...values) / 2, Math.max(...values) * 2], tickvals = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) {
    for (const step of [1, 2, 5]) tickvals.push(step * 10 ** decade);
  }
  return { tickvals, ticktext: tickvals.map((value) => parseFloat(si(value)) + si(value).replace(/[^kMG]/g, "")) };
}

// The best part of the plot, where some points are so far below that they would squash it; null for everything.
function closeUp(values, mustShow) {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[0], Math.max(...sorted, ...mustShow)];
  const quarter = Math.min(sorted[Math.floor(sorted.length / 4)], ...mustShow);
  if (high - quarter > 0.6 * (high - low)) return null;
  const pad = 0.12 * (high - quarter) + 0.002;
  return [quarter - pad, Math.min(high + pad, 1.01)];
}
