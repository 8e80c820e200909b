// One network, many budgets: trained networks' curves beside the networks that were found one by one, on each split.
function startBudgets(budgets) {
  const tint = (i) => colour("e" + (i % 6));

  function curve(one, i, split) {
    const points = [...one.points].sort((a, b) => a[split].mean_macs - b[split].mean_macs);
    return {
      type: "scatter", mode: "lines+markers", name: `${one.name}: ${one.whole ? "all exit subsets" : "all exits kept"}`,
      x: points.map((p) => p[split].mean_macs), y: points.map((p) => p[split].accuracy),
      text: points.map((p) => `exits ${p.exits.join(", ")}`), line: { color: tint(i), width: 2 },
      marker: { size: 4, color: tint(i) }, legendrank: i,
      hovertemplate: `<b>${one.name}</b>, %{text}<br>%{y:.2%} on ${split} at %{x:.3s} mean MACs<extra></extra>`,
    };
  }

  function marks(name, points, marker, rank) {
    return {
      type: "scatter", mode: "markers", name, x: points.map((p) => p.mean_macs), y: points.map((p) => p.accuracy),
      text: points.map((p) => p.name || name), legendrank: rank,
      hovertemplate: "%{text}: %{y:.2%} at %{x:.3s} mean MACs<extra></extra>",
      marker: { size: 8, line: { color: colour("card"), width: 1 }, ...marker },
    };
  }

  function others(split) {
    if (split === "test") return [
      marks("Delivered", budgets.delivered, { symbol: "star", size: 16, color: colour("delivered") }, 10),
      marks("Static beside", budgets.statics, { symbol: "triangle-up", size: 13, color: colour("static") }, 11),
    ];
    return budgets.fronts.map((front, i) => {
      const look = front.study === "search" ? { symbol: "diamond", color: colour("muted") } : { symbol: "square", color: colour("random") };
      return marks(front.name, front.points, look, 10 + i);
    });
  }

  function draw(split) {
    const traces = [...others(split), ...budgets.curves.map((one, i) => curve(one, i, split))].filter((one) => one.x.length);
    legend(document.getElementById(`budgets-${split}-legend`), traces);
    const range = closeUp(traces.flatMap((one) => one.y), budgets.delivered.map((p) => p.accuracy));
    const y = axis(`accuracy, ${split}`, { tickformat: ".4~p", ...(range ? { range } : {}) });
    return Plotly.react(document.getElementById("budgets-" + split), traces, layout(axis("mean MACs per image", { tickformat: "~s" }), y), CONFIG);
  }

  const both = () => ["select", "test"].forEach(draw);
  both();
  DARK.addEventListener("change", both);
}

if (DATA.budgets) startBudgets(DATA.budgets);
