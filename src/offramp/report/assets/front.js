// The front: every trial, its rival, the delivered networks, and the panel that follows a click.
function startFront(front, first) {
  const plot = document.getElementById("front-plot"), panel = document.getElementById("front-panel");
  const chooser = document.getElementById("front-axis");
  front.trials.forEach((point) => { point.kind = "trial"; });
  front.delivered.forEach((point) => { point.kind = "delivered"; });
  const points = [...front.trials, ...front.delivered];
  points.forEach((point, i) => { point.place = i; });
  const walk = front.trials.filter((point) => point.study === "search" && point.front)
    .sort((a, b) => a.metrics.mean_macs - b.metrics.mean_macs);
  const zoom = document.getElementById("front-zoom");
  let cost = front.axes[0], shown = first, close = true;

  const x = (point) => point.metrics[cost.name];
  const hover = (point) => `<b>${panelTitle(point)}</b><br>${percent(point.metrics.accuracy, 2)} on ` +
    (point.kind === "delivered" ? "test" : front.split) + ` at ${quantity(cost.name, x(point))} ${cost.label}`;

  function trace(name, chosen, more) {
    const kept = chosen.filter((point) => x(point) !== undefined);
    return Object.assign({
      type: "scatter", mode: "markers", name, x: kept.map(x), y: kept.map((point) => point.metrics.accuracy),
      customdata: kept.map((point) => point.place), text: kept.map(hover), hovertemplate: "%{text}<extra></extra>",
    }, more);
  }

  function study(name, label, rank, tint, symbol, dash) {
    const own = front.trials.filter((point) => point.study === name);
    const good = own.filter((point) => point.feasible && !point.front);
    const line = own.filter((point) => point.front).sort((a, b) => x(a) - x(b));
    const marker = { color: tint, symbol, size: 8 };
    const linked = front.linked && cost === front.axes[0];
    return [
      trace(`${label}, infeasible`, own.filter((p) => !p.feasible), { marker: { ...marker, opacity: 0.38, size: 7 }, showlegend: false }),
      trace(label, good, { legendrank: rank, marker: { ...marker, opacity: 0.6 } }),
      trace(`${label}: front`, line, {
        legendrank: rank + 1, mode: linked ? "lines+markers" : "markers", line: { color: tint, width: 2, shape: "hv", dash },
        marker: { color: tint, symbol: symbol.replace("-open", ""), size: 10, line: { color: colour("card"), width: 1 } },
      }),
    ];
  }

  function delivered() {
    const star = { color: colour("delivered"), symbol: "star", size: 16, line: { color: colour("card"), width: 1 } };
    const rival = { ...star, color: colour("static"), symbol: "triangle-up", size: 13 };
    return [
      trace("Delivered (test)", front.delivered.filter((point) => !point.static), { legendrank: 5, marker: star }),
      trace("Static beside (test)", front.delivered.filter((point) => point.static), { legendrank: 6, marker: rival }),
    ];
  }

  function bounds() {
    const shapes = [], annotations = [];
    const line = { color: colour("bound"), width: 1.5, dash: "dash" };
    for (const { metric, bound, at_least } of front.constraints) {
      const sign = at_least ? "≥" : "≤";
      const note = { showarrow: false, font: { size: 12, color: colour("muted") }, bgcolor: colour("card") };
      if (metric === cost.name) {
        shapes.push({ type: "line", x0: bound, x1: bound, y0: 0, y1: 1, yref: "paper", line });
        annotations.push({ ...note, x: bound, y: 0.015, yref: "paper", xanchor: "left", yanchor: "bottom", xshift: 3,
          text: `${sign} ${quantity(metric, bound)}` });
      } else if (metric === "accuracy" || metric === "error") {
        const y = metric === "error" ? 1 - bound : bound;
        shapes.push({ type: "line", y0: y, y1: y, x0: 0, x1: 1, xref: "paper", line });
        annotations.push({ ...note, y, x: 0.99, xref: "paper", xanchor: "right", yanchor: "bottom", text: `${metric} ${sign} ${percent(bound)}` });
      }
    }
    return { shapes, annotations };
  }

  function draw() {
    const ring = trace("shown", [points[shown]], { hoverinfo: "skip", hovertemplate: null, showlegend: false,
      marker: { size: 21, color: "rgba(0,0,0,0)", line: { color: colour("ink"), width: 2 } } });
    const traces = [
      ...study("random", "Random search", 3, colour("random"), "diamond-open", "dash"),
      ...study("search", "Search", 1, colour("search"), "circle", "solid"), ...delivered(), ring,
    ].filter((one) => one.x.length);
    const must = [...front.delivered, ...walk].map((p) => p.metrics.accuracy);  // the front is what the page is about
    const best = closeUp(front.trials.map((p) => p.metrics.accuracy), must), range = close && best;
    zoom.hidden = !best;
    zoom.textContent = close ? `Show all ${points.length} points` : "Show the best part";
    const unit = cost.name.endsWith("bytes") || cost.name === "params" ? cost.label : `${cost.label} per image`;
    const y = axis(`accuracy (trials: ${front.split})`, { tickformat: ".4~p", ...(range ? { range } : {}) });
    const values = points.map(x).filter((value) => value > 0);
    const log = Math.max(...values) > 30 * Math.min(...values);
    const across = axis(unit, log ? { type: "log", ...decades(values) } : { tickformat: "~s" });
    const made = bounds();
    if (log) for (const one of made.shapes.concat(made.annotations)) {
      if (one.xref !== "paper" && one.x !== undefined) one.x = Math.log10(one.x);
    }
    legend(document.getElementById("front-legend"), traces);
    return Plotly.react(plot, traces, layout(across, y, { ...made, uirevision: cost.name + close }), CONFIG);
  }

  function show(place) {
    shown = place;
    showPanel(panel, points[place], front);
    draw();
  }

  function step(by) {
    const at = walk.findIndex((point) => point.place === shown);
    const next = at < 0 ? 0 : (at + by + walk.length) % walk.length;
    if (walk.length) show(walk[next].place);
  }

  showPanel(panel, points[shown], front);
  draw().then(() => plot.on("plotly_click", (event) => show(event.points[0].customdata)));
  document.getElementById("front-before").addEventListener("click", () => step(-1));
  document.getElementById("front-after").addEventListener("click", () => step(1));
  for (const button of document.querySelectorAll(".walk button")) button.disabled = walk.length === 0;
  zoom.addEventListener("click", () => {
    close = !close;
    draw();
  });
  if (chooser) chooser.addEventListener("change", () => {
    cost = front.axes.find((one) => one.name === chooser.value);
    draw();
  });
  DARK.addEventListener("change", draw);
}

if (DATA.front) startFront(DATA.front, DATA.start);
