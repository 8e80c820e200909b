// Plotly is inside the page, compressed: as text it would be nine tenths of it.
const unpacked = async (packed) => {
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const script = document.createElement("script");
  script.textContent = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
};
const packed = document.getElementById("plotly");
if (packed) {
  try {
    await unpacked(packed);
  } catch (error) {
    const told = document.createElement("p");
    told.className = "missing";
    told.textContent = `The figures cannot be drawn here (${error}); a browser of 2023 or later can.`;
    document.querySelector("header").append(told);
    // All else goes on without figures.
    window.Plotly = {
      react(plot) {
        plot.on = () => {};
        return new Promise(() => {});
      },
    };
  }
}
