// Several delivered networks: one is shown at a time.
const tabs = [...document.querySelectorAll('[role="tab"]')];

function openTab(chosen) {
  tabs.forEach((tab, i) => {
    const open = i === chosen, body = document.getElementById(tab.getAttribute("aria-controls"));
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
    body.hidden = !open;
    if (open && window.Plotly) body.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
  });
}

tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => openTab(i));
  tab.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = (i + by + tabs.length) % tabs.length;
    openTab(next);
    tabs[next].focus();
  });
});
if (tabs.length) openTab(0);
