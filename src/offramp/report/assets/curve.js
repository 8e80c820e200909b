// One network at other thresholds: the curve, and the slider that chooses a budget.
function startCurve(root, curve) {
  const find = (name) => root.querySelector("." + name);
  const plot = find("curve-plot"), slider = find("budget-slider"), copy = find("budget-copy");
  const metric = curve.metric, words = curve.words, format = metric === "mean_macs" ? ".3s" : ".3g";
  const costs = curve.points.map((point) => point.select[metric]);
  let at = 0;

  // The most accurate point within the budget whose thresholds fit model.onnx; else of all; the cheapest where none is.
  function within(budget) {
    const affordable = curve.points.map((_, i) => i).filter((i) => costs[i] <= budget * (1 + 1e-9));
    const fitting = affordable.filter((i) => curve.points[i].measure === curve.measure);
    const better = (a, b) => (curve.points[b].select.accuracy > curve.points[a].select.accuracy ? b : a);
    return (fitting.length ? fitting : affordable).reduce(better, fitting[0] ?? affordable[0] ?? 0);
  }

  function python(thresholds) {
    const texts = thresholds.map((t) => (typeof t === "number" ? String(Number(t.toPrecision(9))) : `float("${t}")`));
    return `(${texts.join(", ")}${texts.length === 1 ? "," : ""})`;
  }

  function line(name, split, more) {
    return Object.assign({
      type: "scatter", mode: "lines+markers", name, x: curve.points.map((p) => p[split][metric]),
      y: curve.points.map((p) => p[split].accuracy), customdata: curve.points.map((_, i) => i),
      hovertemplate: `%{y:.2%} on ${split} at %{x:${format}} ${words}<extra></extra>`,
    }, more);
  }

  function mark(name, chosen, marker) {
    return { type: "scatter", mode: "markers", name, x: chosen.map((p) => p[metric]), y: chosen.map((p) => p.accuracy),
      text: chosen.map((p) => p.name || name), hovertemplate: `%{text}: %{y:.2%} at %{x:${format}} ${words}<extra></extra>`,
      marker: { line: { color: colour("card"), width: 1 }, ...marker } };
  }

  function draw() {
    const point = curve.points[at], dot = curve.points.length > 60 ? 3 : 5;
    const ring = { size: 20, color: "rgba(0,0,0,0)", line: { color: colour("ink"), width: 2 } };
    const traces = [
      line("Select", "select", { line: { color: colour("muted"), width: 1.5, dash: "dot" }, marker: { size: dot - 1, color: colour("muted") } }),
      line("Test", "test", { line: { color: colour("search"), width: 2 }, marker: { size: dot + 1, color: colour("search") } }),
      mark("Delivered (test)", [curve.delivered], { symbol: "star", size: 16, color: colour("delivered") }),
      mark("Last exit alone (test)", curve.last ? [curve.last] : [], { symbol: "square", size: 10, color: colour("random") }),
      mark("Static beside (test)", curve.statics, { symbol: "triangle-up", size: 13, color: colour("static") }),
      { ...mark("chosen", [point.test], ring), hoverinfo: "skip", hovertemplate: null, showlegend: false, marker: ring },
    ].filter((one) => one.x.length);
    const x = axis(words + " per image", { tickformat: metric === "mean_macs" ? "~s" : "~g" }), y = axis("accuracy", { tickformat: ".4~p" });
    legend(find("legend"), traces);
    return Plotly.react(plot, traces, layout(x, y), CONFIG);
  }

  function show(budget, place) {
    at = place;
    const point = curve.points[at], fits = point.measure === curve.measure;
    const values = { "test-accuracy": percent(point.test.accuracy, 2), "select-accuracy": percent(point.select.accuracy, 2),
      "test-macs": si(point.test[metric]), "select-macs": si(point.select[metric]),
      "budget-value": "at most " + si(budget), "budget-measure": MEASURE_WORDS[point.measure] || point.measure,
      "budget-thresholds": python(point.thresholds) };
    for (const [name, text] of Object.entries(values)) find(name).textContent = text;
    slider.setAttribute("aria-valuetext", `${words} at most ${si(budget)}: ${percent(point.test.accuracy, 2)} on test`);
    find("budget-bars").replaceChildren(...point.utilisation.map((share, i) => exitBar(i, share)));
    copy.disabled = !fits;
    find("budget-note").textContent = fits ? "For the input “thresholds” of model.onnx, in the order of the exits." :
      `These do not fit model.onnx, whose measure is ${MEASURE_WORDS[curve.measure] || curve.measure}.`;
    draw();
  }

  function budgeted(budget) {
    show(budget, within(budget));
  }

  function copied(done) {
    copy.textContent = done ? "Copied" : "Select and copy";
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  }

  copy.addEventListener("click", () => {
    const text = find("budget-thresholds");
    getSelection().selectAllChildren(text);
    if (!navigator.clipboard) return copied(document.execCommand("copy"));
    navigator.clipboard.writeText(text.textContent).then(() => copied(true), () => copied(document.execCommand("copy")));
  });
  Object.assign(slider, { min: costs[0], max: costs[costs.length - 1], step: "any", value: curve.start });
  slider.addEventListener("input", () => budgeted(Number(slider.value)));
  budgeted(curve.start);
  plot.on("plotly_click", (event) => {
    const place = event.points[0].customdata;
    if (place === undefined) return;
    slider.value = costs[place];
    show(costs[place], place);
  });
  DARK.addEventListener("change", draw);
}

for (const [curves, where] of [[DATA.curves, "curve-"], [DATA.device_curves, "device-curve-"]]) {
  curves.forEach((curve, i) => {
    if (curve) startCurve(document.getElementById(where + i), curve);
  });
}
