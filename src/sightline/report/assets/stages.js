// Where the time of each step goes.

const stages = section("time", "Time of a step");
let stagesAsShare = false, stagesWhole = false;

const STAGE_COLOURS = 13;
const stageColour = (name, at) => (name === "other" ? colour("--kind-other") : colour(`--stage${at % STAGE_COLOURS}`));

function legendOf(names, colours) {
  return el("ul", { class: "legend" }, names.map((name, at) => {
    const dot = el("i", {});
    dot.style.background = colours[at];
    return el("li", {}, dot, say(name, 80));
  }));
}

function showStages() {
  const run = all.run, time = run.time;
  stages.show(Boolean(time));
  if (!time) return;
  stages.lead(time.note);
  const names = Object.keys(time.seconds);
  const shown = names.filter((name) => all.data.array(time.seconds[name]).some((each) => each > 0));
  const host = el("article", { class: "chart is-wide" });
  const unit = el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => { stagesAsShare = event.target.checked; drawn.redraw(); } }), "as shares");
  unit.firstChild.checked = stagesAsShare;
  // One step that compiles would flatten all others: it is cut off, which is said, until the reader wants it whole.
  const totals = Array.from(all.data.array(time.steps), (_, at) => shown.reduce((sum, name) => sum + all.data.array(time.seconds[name])[at], 0));
  const usual = [...totals].sort((a, b) => a - b)[Math.floor(0.9 * (totals.length - 1))];
  const higher = totals.filter((each) => each > 3 * usual).length;
  const whole = el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => { stagesWhole = event.target.checked; drawn.redraw(); } }), `whole height: ${higher === 1 ? "1 step is" : `${higher} steps are`} cut off`);
  whole.firstChild.checked = stagesWhole;
  host.append(el("header", {}, el("h4", {}, "Stages of each step"), higher ? whole : null, unit));
  const colours = () => shown.map((name, at) => stageColour(name, at));
  emptied(stages.body).append(host);
  const drawn = figure(host, () => {
    const steps = onAxis(run, all.data.array(time.steps));
    const inks = colours();
    const x = all.axis === "time" ? Array.from(steps, (each) => new Date(each).toISOString().slice(0, 23)) : Array.from(steps);
    const traces = shown.map((name, at) => ({
      x, y: Array.from(all.data.array(time.seconds[name])), name: label(name), type: "scatter", mode: x.length > 1 ? "lines" : "markers", stackgroup: "one",
      groupnorm: stagesAsShare ? "percent" : "", line: { width: 0.6, color: inks[at], shape: x.length < 80 ? "hvh" : "linear" }, fillcolor: faded(inks[at], 0.72),
      hovertemplate: stagesAsShare ? "%{y:.1f} %" : "%{y:.3~g} s",
    }));
    const total = shown.reduce((sum, name) => sum + all.data.array(time.seconds[name]).reduce((a, b) => a + b, 0), 0);
    const part = (name) => all.data.array(time.seconds[name]).reduce((a, b) => a + b, 0) / (total || 1);
    return { traces, layout: { hovermode: "x unified", xaxis: axisLayout(), yaxis: { ticksuffix: stagesAsShare ? " %" : " s", rangemode: "tozero", ...(higher && !stagesWhole && !stagesAsShare ? { range: [0, 1.6 * usual] } : {}) } },
      label: `Seconds of each step by stage: ${shown.map((name) => `${name} ${percent(part(name))}`).join(", ")}` };
  }, { height: 280, zooms: true });
  host.append(legendOf(shown, colours()));
  if (time.critical) {
    const critical = time.critical, parts = critical.parts.filter((each) => each[2] > 0.01 * critical.wall);
    stages.body.append(el("p", { class: "note" }, `The longest step, ${number(critical.step)} (${seconds(critical.wall)}), waited for: `,
      parts.flatMap(([process, stage, took], at) => [at ? " → " : "", el("b", {}, say(stage, 60)), ` ${seconds(took)} (process ${process})`])));
  }
  const detailed = time.source === "traces";
  const slow = (row) => row.slow && `process ${row.slow.process}: +${seconds(row.slow.excess_s)} in ${row.slow.steps} of ${row.slow.of_steps} steps`;
  const list = table({
    caption: "Stages, by their own time", search: time.stages.length > 12, narrow: !detailed,
    columns: [
      { name: "stage", value: (row) => row.stage, wide: true },
      { name: "kind", value: (row) => row.kind, show: (row) => { const dot = el("i", { class: "mark" }); dot.style.background = kindColour(row.kind); return el("span", {}, dot, say(row.kind)); } },
      { name: "share", isNumber: true, value: (row) => row.share, show: (row, cell) => { cell.style.setProperty("--part", `${100 * Math.min(1, row.share)}%`); cell.classList.add("partbar"); return percent(row.share); } },
      { name: "own, a step", isNumber: true, value: (row) => row.own, show: (row) => seconds(row.own) },
      ...(detailed ? [["mean", "mean"], ["p50", "p50"], ["p95", "p95"]].map(([name, key]) => ({ name, isNumber: true, value: (row) => row[key], show: (row) => seconds(row[key]) })) : []),
      ...(detailed ? [{ name: "slow process", wide: true, value: (row) => slow(row) || "", show: (row) => (slow(row) ? el("span", { class: row.slow.chronic ? "bad" : "" }, slow(row)) : "–") }] : []),
    ],
  });
  list.update(time.stages);
  stages.body.append(list.node);
}
