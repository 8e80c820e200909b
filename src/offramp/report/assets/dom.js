// Small helpers: elements, numbers, the embedded data.
const DATA = JSON.parse(document.getElementById("data").textContent);
const GAP = "\u00a0";

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : (100 * share).toFixed(digits) + GAP + "%";
}

function si(value) {
  for (const [scale, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= 0.9995 * scale) return three(value / scale) + GAP + letter;
  }
  return String(Number(value.toPrecision(3)));
}

function three(value) {
  return value.toFixed(Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0);
}

function bytes(value) {
  const text = si(value);
  return /\d$/.test(text) ? text + GAP + "B" : text + "B";
}

function quantity(name, value) {
  return name.endsWith("bytes") ? bytes(value) : si(value);
}

function exitBar(number, share, note) {
  const colour = "e" + (number % 6);
  return element("div", { class: "bar" },
    element("span", { class: "name" }, element("i", { class: "swatch " + colour }), "Exit " + number),
    element("span", { class: "track", "aria-hidden": "true" },
      element("i", { class: "right " + colour, style: `width:${(100 * share).toFixed(2)}%` })),
    element("span", { class: "figure" }, element("b", {}, percent(share)), note || ""));
}
