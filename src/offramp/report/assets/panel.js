// The panel beside the front: one network, its figures and its stages.
const MEASURE_WORDS = DATA.measures;

function figure(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

function panelTitle(point) {
  if (point.kind === "delivered") return `${point.name}, delivered`;
  return point.study === "random" ? `Random search, trial ${point.number}` : `Trial ${point.number}`;
}

function badges(point) {
  const found = [];
  if (point.kind === "delivered") found.push(point.static ? "static" : "early-exit", `seed ${point.seed}`);
  else {
    if (point.front) found.push("on the front");
    if (!point.feasible) found.push("breaks a constraint");
    if (point.chosen) found.push(`delivered as ${point.chosen}`);
    if (point.study !== "random") found.push(`proposed by ${point.proposer}`);
  }
  return element("p", { class: "badges" }, ...found.map((text) => element("span", {}, text)));
}

function macBar(macs, most, exit) {
  const kind = exit === undefined ? "fill" : "fill e" + (exit % 6);
  return element("span", { class: "macs", title: si(macs) + " MACs" },
    element("i", { class: kind, style: `width:${Math.max(1, (100 * macs) / most).toFixed(1)}%` }));
}

function stageRows(stages, point) {
  const most = Math.max(...stages.flatMap((stage) => [stage.macs, stage.exit ? stage.exit.macs : 0]), 1);
  const rows = [];
  let exit = 0;
  stages.forEach((stage, i) => {
    rows.push(element("li", { class: "stage" },
      element("div", { class: "row" }, element("b", {}, `Stage ${i}`), element("span", {}, stage.map),
        element("span", { class: "end" }, si(stage.macs))),
      macBar(stage.macs, most), element("code", {}, stage.blocks.join("\n"))));
    if (!stage.exit) return;
    const share = point.utilisation ? percent(point.utilisation[exit]) + " leave" : "";
    const right = point.exit_accuracy ? percent(point.exit_accuracy[exit]) + " right on all images" : "";
    const upTo = point.exit_macs ? si(point.exit_macs[exit]) + " MACs up to here" : "";
    rows.push(element("li", { class: "exit e" + (exit % 6) },
      element("div", { class: "row" }, element("b", {}, `Exit ${exit}`), element("span", { class: "end" }, share)),
      macBar(stage.exit.macs, most, exit), element("code", {}, stage.exit.layers.join("\n")),
      element("p", {}, [right, upTo].filter(Boolean).join(", "))));
    exit += 1;
  });
  return element("ol", { class: "sketch" }, ...rows);
}

function thresholdsLine(point) {
  if (!point.policy || !point.policy.thresholds.length) return null;
  const name = MEASURE_WORDS[point.policy.measure] || point.policy.measure;
  const values = point.policy.thresholds.map((t) => (typeof t === "number" ? t.toPrecision(4) : t)).join(", ");
  return element("p", { class: "plain" }, `Leaves where ${name} is at least ${values}.`);
}

function showPanel(panel, point, front) {
  const split = point.kind === "delivered" ? "test" : front.split;
  const costs = front.axes.filter((one) => one.name in point.metrics);
  const outline = point.outline === null ? null : front.outlines[point.outline];
  panel.replaceChildren(
    element("h3", {}, panelTitle(point)), badges(point),
    element("dl", { class: "pair" }, figure(`accuracy on ${split}`, percent(point.metrics.accuracy, 2)),
      ...costs.map((one) => figure(one.label, quantity(one.name, point.metrics[one.name])))),
    ...[thresholdsLine(point)].filter(Boolean),
    outline ? stageRows(outline, point) : element("p", { class: "missing" },
      "The drawing of this network is left out to keep the page small; front.json has its architecture."));
}
