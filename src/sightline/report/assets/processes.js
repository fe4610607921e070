// What each process had, step by step, and which one is slow.

const processes = section("processes", "Processes");
let chosenMap = null;

const slowMaps = () => all.run.processes.filter((each) => each.slow).sort((a, b) => b.slow.excess_s * b.slow.steps - a.slow.excess_s * a.slow.steps);
const slowText = (slow) => `${slow.chronic ? "in most steps" : "now and then"} (${number(slow.steps)} of ${number(slow.of_steps)}), by ${seconds(slow.excess_s)}; worst in step ${number(slow.worst_step)}`;
const shownMap = () => all.run.processes.find((each) => each.key === chosenMap);

function showProcesses() {
  const maps = all.run.processes;
  processes.show(maps.length > 0);
  if (!maps.length) return;
  if (!maps.some((each) => each.key === chosenMap)) chosenMap = (slowMaps()[0] || maps[0]).key;
  processes.fill([all.run.name, maps.map((each) => each.key), maps[0].processes.length, slowMaps().length > 0], buildProcesses);
}

function buildProcesses(body) {
  const select = el("select", { "aria-label": "Metric of the map", onchange: (event) => { chosenMap = event.target.value; showProcesses(); } });
  for (const each of all.run.processes) select.append(el("option", { value: each.key }, visible(each.key.slice(0, 120))));
  const verdict = el("p", { class: "note", role: "status" });
  const host = el("article", { class: "chart is-wide" }, el("header", {}, el("h4", {}, "Process × step"), select));
  const list = table({ caption: "Slow processes, by timing", search: false, page: 8, narrow: true, columns: [
    { name: "timing", bare: true, value: (each) => each.key, wide: true, show: (each) => el("button", { type: "button", class: "link", onclick: () => { chosenMap = each.key; showProcesses(); } }, say(each.key, 120)) },
    { name: "process", isNumber: true, value: (each) => each.slow.process },
    { name: "excess", isNumber: true, value: (each) => each.slow.excess_s, show: (each) => `+${seconds(each.slow.excess_s)}` },
    { name: "steps", isNumber: true, value: (each) => each.slow.steps / each.slow.of_steps, show: (each) => `${number(each.slow.steps)} of ${number(each.slow.of_steps)}` },
    { name: "worst step", isNumber: true, value: (each) => each.slow.worst_step },
  ] });
  body.append(host, verdict, ...(slowMaps().length ? [list.node] : []));
  const drawn = figure(host, drawProcesses, { height: Math.min(420, 90 + 16 * Math.max(3, shownMap().processes.length)), zooms: true });
  return () => {
    select.value = chosenMap;
    const { slow, of } = shownMap();
    verdict.replaceChildren(...(slow ? ["Slow: ", el("b", { class: slow.chronic ? "bad" : "" }, `process ${slow.process}`), `, ${slowText(slow)}.`] : [of > 1 ? "No process is clearly slower than the others." : "There is one process."]));
    list.update(slowMaps());
    drawn.redraw();
  };
}

function drawProcesses() {
  const run = all.run, each = shownMap();
  const steps = onAxis(run, all.data.array(each.steps));
  const x = all.axis === "time" ? Array.from(steps, (value) => new Date(value).toISOString().slice(0, 23)) : Array.from(steps);
  const rows = each.values.map((ref) => Array.from(all.data.array(ref), (value) => (Number.isFinite(value) ? value : null)));
  const tall = each.processes.length, unit = each.key.endsWith("_s") ? " s" : "";
  const sorted = rows.flat().filter(isNumber).sort((a, b) => a - b), top = sorted[Math.floor(0.98 * (sorted.length - 1))];
  const scaled = top !== undefined && sorted[sorted.length - 1] > 2 * top ? { zmin: sorted[0], zmax: top } : {}; // one step does not take all colours
  return { traces: [{ type: "heatmap", ...scaled, x, y: each.processes.map((name) => label(`p${name}`)), z: rows, colorscale: scale(), hoverongaps: false, xgap: x.length < 60 ? 1 : 0, ygap: tall < 40 ? 1 : 0,
    colorbar: { thickness: 8, outlinewidth: 0, tickfont: { size: 10, color: colour("--faint") }, ticksuffix: unit, len: 1, x: 1.01 },
    hovertemplate: `step %{x}<br>process %{y}: %{z:.4~g}${unit}<extra></extra>` }],
    layout: { hovermode: "closest", margin: { l: 52, r: 60 }, xaxis: { ...axisLayout(), showspikes: false }, yaxis: { autorange: "reversed", type: "category", showgrid: false, nticks: 16 } },
    label: `${each.key} by process and step: ${counted(tall, "row")}, ${counted(x.length, "column")}. ${each.slow ? `Slow: process ${each.slow.process}, ${slowText(each.slow)}` : ""}` };
}

const scale = () => [0, 0.25, 0.5, 0.75, 1].map((at, index) => [at, colour(`--heat${index}`)]);
