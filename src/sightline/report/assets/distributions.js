// Histograms over the steps.

const distributions = section("distributions", "Distributions");

function showDistributions() {
  const run = all.run;
  distributions.show(run.distributions.length > 0);
  if (!run.distributions.length) return;
  distributions.lead("each column is a step, each colour the share of its values");
  distributions.fill([run.name, run.distributions.map((each) => each.key)], (body) => {
    const grid = el("div", { class: "grid" });
    body.append(grid);
    const drawings = run.distributions.map(({ key }, at) => {
      const host = el("article", { class: "chart" }, el("header", {}, el("h4", { title: visible(key) }, broken(key, 160))));
      grid.append(host);
      return figure(host, () => drawDistribution(all.run.distributions[at]), { height: 210, zooms: true });
    });
    return () => drawings.forEach((each) => each.redraw());
  });
}

function drawDistribution(each) {
  const steps = onAxis(all.run, all.data.array(each.steps)), edges = all.data.array(each.edges);
  const x = all.axis === "time" ? Array.from(steps, (value) => new Date(value).toISOString().slice(0, 23)) : Array.from(steps);
  const y = Array.from(edges.slice(0, -1), (low, at) => (low + edges[at + 1]) / 2);
  return { traces: [{ type: "heatmap", x, y, z: each.shares.map((ref) => Array.from(all.data.array(ref))), colorscale: scale(), showscale: false, hovertemplate: "step %{x}, near %{y:.3~g}: %{z:.1%}<extra></extra>" }],
    layout: { hovermode: "closest", xaxis: { ...axisLayout(), showspikes: false } }, label: `${each.key}: distributions of ${counted(steps.length, "step")} between ${number(edges[0])} and ${number(edges[edges.length - 1])}` };
}
