// Where the time of each step goes.

const stages = section("time", "Time of a step");
let stagesAsShare = false, stagesWhole = false;

const STAGE_COLOURS = 13;

/** The colours of stages, in their order: that of their kind, in shades where several are of one. */
function stageColours(names) {
  const kinds = new Map(all.run.time.stages.map((row) => [row.stage, row.kind])), seen = new Map();
  return names.map((name) => {
    if (name === "other") return colour("--kind-other");
    if (!kinds.has(name)) return colour("--idle"); // several small ones
    const kind = kinds.get(name), nth = seen.get(kind) || 0;
    seen.set(kind, nth + 1);
    return shade(kindColour(kind), nth);
  });
}

/** The nth shade of a colour: itself, a lighter one, a darker one, and so on. */
function shade(hex, nth) {
  const toward = nth % 2 ? 255 : 0, part = Math.min(0.66, 0.26 * Math.ceil(nth / 2));
  return `#${[1, 3, 5].map((at) => Math.round(parseInt(hex.slice(at, at + 2), 16) * (1 - part) + toward * part).toString(16).padStart(2, "0")).join("")}`;
}

function legendOf(names, colours) {
  return el("ul", { class: "legend" }, names.map((name, at) => {
    const dot = el("i", {});
    dot.style.background = colours[at];
    return el("li", {}, dot, say(name, 80));
  }));
}

function showStages() {
  const time = all.run.time;
  stages.show(Boolean(time));
  if (!time) return;
  stages.lead(time.note);
  stages.fill([all.run.name, time.source, document.documentElement.dataset.theme, Object.keys(time.seconds), time.stages.map((row) => [row.stage, row.kind]).sort()], buildStages);
}

const stageSeconds = (name) => all.data.array(all.run.time.seconds[name]);

function buildStages(body) {
  const detailed = all.run.time.source === "traces";
  const names = Object.keys(all.run.time.seconds);
  const colours = stageColours(names);
  const host = el("article", { class: "chart is-wide" });
  const asShares = el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => { stagesAsShare = event.target.checked; drawn.redraw(); } }), "as shares");
  const cutWords = el("span", {});
  const whole = el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => { stagesWhole = event.target.checked; drawn.redraw(); } }), cutWords);
  asShares.firstChild.checked = stagesAsShare;
  whole.firstChild.checked = stagesWhole;
  host.append(el("header", {}, el("h4", {}, "Stages of each step"), whole, asShares));
  const drawn = figure(host, () => drawStages(names, colours), { height: 280, zooms: true });
  host.append(legendOf(names, colours));
  const longest = el("p", { class: "note" });
  const slow = (row) => row.slow && `process ${row.slow.process}: +${seconds(row.slow.excess_s)} in ${row.slow.steps} of ${counted(row.slow.of_steps, "step")}`;
  const list = table({
    caption: "Stages, by their own time: shares of the steps' time", search: all.run.time.stages.length > 12, narrow: !detailed,
    columns: [
      { name: "stage", bare: true, value: (row) => row.stage, wide: true },
      { name: "kind", bare: true, value: (row) => row.kind, show: (row) => { const dot = el("i", { class: "mark" }); dot.style.background = kindColour(row.kind); return el("span", { class: "nowrap" }, dot, say(row.kind)); } },
      { name: "share", isNumber: true, value: (row) => row.share, show: (row, cell) => { cell.style.setProperty("--part", `${100 * Math.min(1, row.share)}%`); cell.classList.add("partbar"); return row.whole ? `${percent(row.share)} of ${percent(row.whole)} with its parts` : percent(row.share); } },
      { name: "own, a step", isNumber: true, value: (row) => row.own, show: (row) => seconds(row.own) },
      ...(detailed ? [["mean", "mean"], ["p50", "p50"], ["p95", "p95"]].map(([name, key]) => ({ name, isNumber: true, value: (row) => row[key], show: (row) => seconds(row[key]) })) : []),
      ...(detailed ? [{ name: "slow process", wide: true, value: (row) => slow(row) || "", show: (row) => (slow(row) ? el("span", { class: row.slow.chronic ? "bad" : "" }, slow(row)) : "–") }] : []),
    ],
  });
  body.append(host, longest, list.node);
  return () => {
    const cut = cutStages(names);
    whole.hidden = !cut;
    if (cut) cutWords.textContent = `whole height: ${cut.count === 1 ? "1 step is" : `${cut.count} steps are`} cut off`;
    const critical = all.run.time.critical;
    longest.hidden = !critical;
    if (critical) {
      const { parts, is_in_order: inOrder, rest, count } = critical, between = inOrder ? " → " : ", ";
      longest.replaceChildren(`The longest step, ${number(critical.step)} (${seconds(critical.wall)}), waited for: ${inOrder ? "" : `${counted(count, "short part")}: `}${parts.length ? "" : "nothing above 1 %"}`,
        ...parts.flatMap(([process, stage, took], at) => [at ? between : "", el("b", {}, say(stage, 60)), ` ${seconds(took)} (process ${process})`]), rest > 0.01 * critical.wall ? `; all else ${seconds(rest)}` : "");
    }
    list.update(all.run.time.stages);
    drawn.redraw();
  };
}

/** One step that compiles would flatten all others: it is cut off, which is said, until the reader wants it whole. */
function cutStages(names) {
  const totals = Array.from(all.data.array(all.run.time.steps), (_, at) => names.reduce((sum, name) => sum + stageSeconds(name)[at], 0));
  const top = 1.6 * [...totals].sort((a, b) => a - b)[Math.floor(0.9 * (totals.length - 1))];
  return Math.max(...totals) > 2 * top ? { top, count: totals.filter((each) => each > top).length } : null;
}

function drawStages(names, colours) {
  const run = all.run, time = run.time, cut = cutStages(names);
  const steps = onAxis(run, all.data.array(time.steps));
  const x = all.axis === "time" ? Array.from(steps, (each) => new Date(each).toISOString().slice(0, 23)) : Array.from(steps);
  const traces = names.map((name, at) => ({
    x, y: Array.from(stageSeconds(name)), name: label(name), type: "scatter", mode: x.length > 1 ? "lines" : "markers", stackgroup: "one",
    groupnorm: stagesAsShare ? "percent" : "", line: { width: 0.6, color: colours[at], shape: x.length < 80 ? "hvh" : "linear" }, fillcolor: faded(colours[at], 0.85),
    hovertemplate: stagesAsShare ? "%{y:.1f} %" : "%{y:.3~g} s",
  }));
  const sums = names.map((name) => stageSeconds(name).reduce((a, b) => a + b, 0)), total = sums.reduce((a, b) => a + b, 0) || 1;
  return { traces, layout: { hovermode: "x unified", xaxis: axisLayout(), yaxis: { ticksuffix: stagesAsShare ? " %" : " s", rangemode: "tozero", ...(cut && !stagesWhole && !stagesAsShare ? { range: [0, cut.top] } : {}) } },
    label: `Seconds of each step by stage: ${names.map((name, at) => `${name} ${percent(sums[at] / total)}`).join(", ")}` };
}
