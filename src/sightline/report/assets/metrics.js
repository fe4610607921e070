// Curves of all metrics, by namespace, with one axis for all of them.

const metrics = section("metrics", "Metrics");
const ORDER = ["eval", "train", "rollout", "throughput", "warmup", "time", "host", "jax", "obs"];
const QUANTILES = [["p05", "p95"], ["p10", "p90"], ["p25", "p75"], ["min", "max"]];
const wideCharts = new Set();
const closedGroups = new Set();
const LEAST_SMOOTHED = 20; // values: of fewer the mean would hide what they say
let metricQuery = "", isPattern = false, chartsShown = "";
let charts = [];

const controls = el("div", { class: "tools sticky" });
const groupsNode = el("div", {});
const foundCount = el("span", { class: "count", role: "status" });
metrics.body.append(controls, groupsNode);

function choice(name, options, chosen, onchange) {
  const set = el("fieldset", { class: "choice" }, el("legend", { class: "hidden" }, name));
  for (const [value, words] of options) {
    const input = el("input", { type: "radio", name, value, onchange: () => onchange(value) });
    input.checked = value === chosen;
    set.append(el("label", {}, input, el("span", {}, words)));
  }
  return set;
}

function makeControls() {
  const field = el("input", { type: "search", id: "metric-search", placeholder: "search metrics   ( / )", "aria-label": "Search metrics",
    oninput: later(120, () => { metricQuery = field.value; showMetrics(); }) });
  const pattern = el("input", { type: "checkbox", onchange: (event) => { isPattern = event.target.checked; showMetrics(); } });
  const amount = el("output", { for: "smoothing" }, all.smoothing.toFixed(2));
  const slider = el("input", { type: "range", id: "smoothing", min: "0", max: "0.99", step: "0.01", value: String(all.smoothing), "aria-label": "Smoothing",
    oninput: (event) => { all.smoothing = Number(event.target.value); amount.textContent = all.smoothing.toFixed(2); redrawMetrics(); } });
  const check = (words, change) => el("label", { class: "check" }, el("input", { type: "checkbox", onchange: (event) => { change(event.target.checked); redrawMetrics(); } }), words);
  controls.append(field, el("label", { class: "check" }, pattern, "regex"),
    choice("axis", [["step", "step"], ["time", "time"], ["relative", "relative"]], all.axis, (value) => {
      all.zoom = null;
      document.body.classList.remove("zoomed");
      all.axis = value;
      redrawAll((each) => each.zooms);
    }),
    el("label", { class: "slider" }, "smooth", slider, amount),
    check("log y", (is) => { all.logY = is; }), check("clip outliers", (is) => { all.clip = is; }),
    el("button", { type: "button", class: "unzoom", onclick: () => zoomTo(null) }, "reset zoom"), foundCount);
}

const redrawMetrics = () => { for (const each of charts) each.figure.redraw(); };

/** The charts: one for each metric, or for several that are parts of one distribution. */
function chartsOf(runs) {
  const made = new Map(), taken = new Set();
  for (const run of runs) {
    for (const [base, parts] of Object.entries(run.curves.bands)) {
      const chart = made.get(base) || { name: base, parts: {}, minor: base.startsWith("host/") || Object.values(parts).every((key) => run.curves.aliases.includes(key)) };
      Object.assign(chart.parts, parts);
      made.set(base, chart);
      Object.values(parts).forEach((key) => taken.add(key));
    }
  }
  for (const run of runs) {
    for (const { key } of run.curves.keys) {
      if (taken.has(key) || made.has(key)) continue;
      if (key.startsWith("time/") && key.endsWith("_s_max") && run.byKey.has(key.slice(0, -4))) continue;
      const parts = { mean: key };
      if (key.startsWith("time/") && run.byKey.has(`${key}_max`)) parts.max = `${key}_max`;
      made.set(key, { name: key, parts, minor: key.endsWith("_slowest") || key.startsWith("host/") || run.curves.aliases.includes(key) });
    }
  }
  return [...made.values()];
}

function matching(list) {
  if (!metricQuery) return list.filter((each) => !each.minor);
  let accepts;
  if (isPattern) {
    let pattern;
    try { pattern = new RegExp(metricQuery, "i"); } catch { return null; }
    accepts = (text) => pattern.test(text);
  } else {
    const words = metricQuery.toLowerCase().split(/\s+/).filter(Boolean);
    accepts = (text) => words.every((word) => text.toLowerCase().includes(word));
  }
  return list.filter((each) => accepts(each.name) || Object.values(each.parts).some(accepts));
}

function grouped(list) {
  const groups = new Map();
  const put = (name, chart) => groups.set(name, [...(groups.get(name) || []), chart]);
  for (const chart of list) put(chart.name.includes("/") ? chart.name.split("/")[0] : "", chart);
  for (const [name, of] of [...groups]) {
    if (of.length <= 30 || !name) continue;
    groups.delete(name);
    for (const chart of of) {
      const parts = chart.name.split("/");
      put(parts.length > 2 ? `${name}/${parts[1]}` : name, chart);
    }
  }
  const place = (name) => { const at = ORDER.findIndex((each) => name.split("/")[0].startsWith(each)); return at < 0 ? 4.5 : at; };
  return [...groups].sort((a, b) => place(a[0]) - place(b[0]) || a[0].localeCompare(b[0], "en", { numeric: true }));
}

function showMetrics() {
  const every = chartsOf(all.runs);
  metrics.show(every.length > 0);
  const list = matching(every);
  document.getElementById("metric-search").setAttribute("aria-invalid", String(list === null));
  if (list === null) { foundCount.textContent = "no valid pattern"; return; }
  foundCount.textContent = `${list.length} of ${every.length}`;
  const signature = JSON.stringify([list.map((each) => [each.name, each.parts]), [...wideCharts]]);
  if (signature === chartsShown) {
    charts.forEach((each, at) => { each.chart = each.chart && list.find((other) => other.name === each.chart.name) || each.chart; each.refresh(); each.figure.redraw(); });
    return;
  }
  chartsShown = signature;
  emptied(groupsNode);
  charts = [];
  for (const [name, of] of grouped(list)) {
    const grid = el("div", { class: "grid" });
    const group = el("details", { class: "group", open: !closedGroups.has(name), ontoggle: () => {
      if (group.open) closedGroups.delete(name); else closedGroups.add(name);
    } }, el("summary", {}, el("h3", {}, say(name || "without a namespace", 80), el("small", {}, ` ${of.length}`))), grid);
    for (const chart of of) grid.append(chartNode(chart, name));
    groupsNode.append(group);
  }
  if (!list.length) groupsNode.append(el("p", { class: "note" }, "No metric is like that."));
}

function chartNode(chart, group) {
  const short = group && chart.name.startsWith(`${group}/`) ? chart.name.slice(group.length + 1) : chart.name;
  const last = el("span", { class: "last" });
  const widen = el("button", { type: "button", class: "icon", "aria-label": `Wider or narrower: ${visible(chart.name)}`, title: "wider / narrower", onclick: () => {
    if (wideCharts.has(chart.name)) wideCharts.delete(chart.name); else wideCharts.add(chart.name);
    node.classList.toggle("is-wide");
    plotHost.replaceChildren();
    made.figure.remove();
    made.figure = figure(plotHost, (pixels) => drawMetric(made.chart, pixels), { zooms: true, height: wideCharts.has(chart.name) ? 380 : 190 });
  } }, "⤢");
  const plotHost = el("div", {});
  const node = el("article", { class: `chart ${wideCharts.has(chart.name) ? "is-wide" : ""}` },
    el("header", {}, el("h4", { title: visible(chart.name) }, broken(short, 160)), last, widen), plotHost);
  const made = { chart, refresh() {
    const run = all.shown[0] || all.run;
    const entry = run.byKey.get(mainKey(chart));
    last.textContent = entry && entry.n ? number(typeof entry.last === "string" ? Number(entry.last.replace("inf", "Infinity")) : entry.last) : "";
    last.classList.toggle("bad", Boolean(entry && entry.bad));
    last.title = entry && entry.bad ? `${counted(entry.bad, "value is", "values are")} not finite` : "the last value";
  } };
  made.figure = figure(plotHost, (pixels) => drawMetric(made.chart, pixels), { zooms: true, height: wideCharts.has(chart.name) ? 380 : 190 });
  made.refresh();
  charts.push(made);
  return node;
}

const mainKey = (chart) => chart.parts.mean || chart.parts.median || chart.parts.p50 || Object.values(chart.parts)[0];

function drawMetric(chart, pixels) {
  const traces = [], words = [], shapes = [], every = [];
  const several = all.runs.length > 1;
  const hover = (text) => `%{y:.5~g}<extra>${text}</extra>`;
  for (const run of all.shown) {
    const main = run.byKey.get(mainKey(chart));
    if (!main) continue;
    const ink = runColour(run), name = several ? label(run.name, 40) : "";
    const points = (entry, part = "y") => {
      const from = part === "mean" ? entry.mean : entry;
      const x = onAxis(run, all.data.array(from.x));
      return [x, all.data.array(from.y)];
    };
    const pair = QUANTILES.find(([low, high]) => chart.parts[low] && chart.parts[high] && run.byKey.has(chart.parts[low]) && run.byKey.has(chart.parts[high]));
    const outer = !several && pair && pair[0] !== "min" && chart.parts.min && chart.parts.max ? ["min", "max"] : null;
    for (const [low, high] of [outer, pair].filter(Boolean)) {
      const [below, above] = [low, high].map((part) => run.byKey.get(chart.parts[part]));
      if (!below || !above) continue;
      const fill = faded(ink, several ? 0.1 : low === "min" ? 0.09 : 0.16);
      for (const [entry, isAbove] of [[below, false], [above, true]]) {
        const [x, y] = fitting(...points(entry), all.zoom, pixels);
        traces.push({ x, y, mode: "lines", line: { width: 0 }, fill: isAbove ? "tonexty" : "none", fillcolor: fill, hoverinfo: "skip", type: "scatter" });
      }
    }
    if (!pair && chart.parts.std && run.byKey.has(chart.parts.std)) {
      const [x, mean] = points(main), spread = points(run.byKey.get(chart.parts.std))[1];
      if (mean.length === spread.length) {
        for (const sign of [-1, 1]) {
          const [atX, y] = fitting(x, mean.map((each, at) => each + sign * spread[at]), all.zoom, pixels);
          traces.push({ x: atX, y, mode: "lines", line: { width: 0 }, fill: sign > 0 ? "tonexty" : "none", fillcolor: faded(ink, 0.12), hoverinfo: "skip", type: "scatter" });
        }
      }
    }
    if (main.over) {
      const steps = all.data.array(main.over.x);
      const [x, y] = fitting(onAxis(run, steps, all.data.array(main.over.t)), all.data.array(main.over.y), all.zoom, pixels);
      traces.push({ x, y, mode: x.length > 1 ? "lines" : "markers", type: "scatter", marker: { size: 4, color: faded(ink, 0.4) }, line: { width: 1, color: faded(ink, 0.35), dash: "dot" }, hovertemplate: hover(`${name} gone over`) });
    }
    const [rawX, rawY] = points(main);
    const [x, y] = fitting(rawX, rawY, all.zoom, pixels);
    const isSmooth = all.smoothing > 0 && main.n >= LEAST_SMOOTHED;
    const few = main.n < 60;
    every.push(...y);
    traces.push({ x, y, type: "scatter", mode: few && !isSmooth ? "lines+markers" : main.n === 1 ? "markers" : "lines", marker: { size: 4, color: ink },
      line: { width: isSmooth ? 1 : 1.5, color: isSmooth ? faded(ink, several ? 0.2 : 0.28) : ink }, hovertemplate: hover(name), hoverinfo: isSmooth ? "skip" : undefined,
      connectgaps: false });
    if (isSmooth) {
      const [meanX, meanY] = main.mean ? points(main, "mean") : [rawX, rawY];
      const soft = smoothed(meanY, all.smoothing, main.mean ? main.mean.size : 1);
      const [softX, softY] = fitting(meanX, soft, all.zoom, pixels);
      traces[traces.length - 1].hovertemplate = hover(name ? `${name} raw` : "raw");
      traces.push({ x: softX, y: softY, type: "scatter", mode: "lines", line: { width: 1.8, color: ink }, hovertemplate: hover(name || "smooth") });
    }
    if (!several && chart.parts.max && !chart.parts.min && run.byKey.has(chart.parts.max)) {
      const [maxX, maxY] = fitting(...points(run.byKey.get(chart.parts.max)), all.zoom, pixels);
      traces.push({ x: maxX, y: maxY, type: "scatter", mode: "lines", line: { width: 1, color: faded(ink, 0.45), dash: "dot" }, hovertemplate: hover(`${name} slowest process`) });
    }
    if (main.bad) {
      const gone = [];
      for (let i = 0; i < rawY.length; i++) if (!Number.isFinite(rawY[i])) gone.push(i);
      const floor = Math.min(...y.filter(Number.isFinite)), lowest = Number.isFinite(floor) ? floor : 0;
      traces.push({ x: gone.map((at) => rawX[at]), y: gone.map(() => lowest), type: "scatter", mode: "markers", marker: { symbol: "triangle-up", size: 8, color: colour("--bad") },
        text: gone.map((at) => (Number.isNaN(rawY[at]) ? "NaN" : rawY[at] > 0 ? "∞" : "−∞")), hovertemplate: `%{text}<extra>${name} not finite</extra>` });
    }
    for (const each of run.attempts.slice(1)) {
      const at = onAxis(run, [each.step])[0];
      shapes.push({ type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "paper", line: { width: 1, dash: "dash", color: faded("--faint", 0.5) } });
    }
    words.push(`${several ? `${run.name}: ` : ""}last ${number(main.last)} at step ${number(main.step)}, from ${number(main.min)} to ${number(main.max)} over ${counted(main.n, "value")}${main.bad ? `, ${main.bad} not finite` : ""}`);
  }
  if (all.axis === "time") for (const trace of traces) trace.x = Array.from(trace.x, (each) => new Date(each).toISOString().slice(0, 23));
  if (all.axis === "time") for (const shape of shapes) shape.x0 = shape.x1 = new Date(shape.x0).toISOString().slice(0, 23);
  const yaxis = { type: all.logY ? "log" : "linear" };
  const lowest = every.reduce((a, b) => (Number.isFinite(b) && b < a ? b : a), Infinity), highest = every.reduce((a, b) => (Number.isFinite(b) && b > a ? b : a), -Infinity);
  if (Math.max(Math.abs(lowest), Math.abs(highest)) < 1e-3) Object.assign(yaxis, { exponentformat: "e", minexponent: 3 }); // as people write learning rates
  // What is the same but for rounding is a flat line.
  if (traces.every((trace) => !trace.fill) && !chart.parts.max && highest - lowest < 1e-6 * Math.abs(highest) && !all.logY) yaxis.range = [0.95, 1.05].map((part) => highest * part).sort((a, b) => a - b);
  const finite = all.clip ? every.filter(Number.isFinite).sort((a, b) => a - b) : [];
  if (finite.length > 20) {
    const low = finite[Math.floor(0.02 * finite.length)], high = finite[Math.ceil(0.98 * finite.length) - 1];
    const room = 0.08 * (high - low || 1);
    if (!all.logY) yaxis.range = [low - room, high + room];
    else if (low > 0) yaxis.range = [Math.log10(low), Math.log10(high)];
  }
  return { traces, layout: { hovermode: "x unified", xaxis: axisLayout(), yaxis, shapes }, label: `${chart.name}. ${words.join(". ")}` };
}
