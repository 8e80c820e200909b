// Plotly reads no CSS variables: the figures take their colours from the page, and are drawn again when it turns dark.
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const TOUCH = window.matchMedia("(pointer: coarse)").matches;

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
    showlegend: false, dragmode: TOUCH ? false : "zoom", autosize: true, uirevision: "kept",
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

const SYMBOLS = {
  circle: '<circle cx="14" cy="7" r="4.5"/>', square: '<path d="M9.5 2.5h9v9h-9z"/>',
  diamond: '<path d="M14 1l6 6-6 6-6-6z"/>', "triangle-up": '<path d="M14 1.5l6 10.5H8z"/>',
  star: '<path d="M14 0l2 4.7 5 .5-3.8 3.4 1.2 5L14 11l-4.4 2.6 1.2-5L7 5.2l5-.5z"/>',
};

// Plotly's own legend does not wrap on a phone without covering what stands below; this one is text.
function legend(place, traces) {
  const entries = traces.filter((trace) => trace.showlegend !== false).map((trace) => {
    const [symbol, open] = (trace.marker.symbol || "circle").split("-open");
    const paint = open === undefined ? `fill="${trace.marker.color}"` : `fill="none" stroke="${trace.marker.color}" stroke-width="1.3"`;
    const dash = { dash: 'stroke-dasharray="5 3"', dot: 'stroke-dasharray="2 2"' }[(trace.line || {}).dash] || "";
    const line = (trace.mode || "").includes("lines") ? `<path d="M0 7h28" stroke="${trace.line.color}" stroke-width="2" ${dash}/>` : "";
    const marker = `<g ${paint} opacity="${trace.marker.opacity || 1}">${SYMBOLS[symbol]}</g>`;
    const entry = element("span");
    entry.innerHTML = `<svg width="28" height="14" aria-hidden="true">${line}${marker}</svg>`;
    entry.append(trace.name);
    return [trace.legendrank || 0, entry];
  });
  place.replaceChildren(...entries.sort((a, b) => a[0] - b[0]).map((entry) => entry[1]));
}
