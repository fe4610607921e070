// How the processes and their machines are, in units that people read.

const hosts = section("hosts", "Hosts");

/** By what a quantity is divided, and what it is in then; chosen by its largest value. */
function unitOf(key, most) {
  const sized = (steps) => steps.find(([size]) => most >= size) || steps[steps.length - 1];
  if (/bytes_per_s/.test(key)) return sized([[1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"], [0, "B/s", 1]]);
  if (/bytes/.test(key)) return sized([[1e12, "TB"], [1e9, "GB"], [0, "MB", 1e6]]);
  if (/_fraction/.test(key)) return [0, "%", 0.01];
  if (/cpu_cores/.test(key)) return [0, "cores", 1];
  if (/_power_w|power_w/.test(key)) return [0, "W", 1];
  if (/temperature_c/.test(key)) return [0, "°C", 1];
  return [0, "", 1];
}

function unitsOf(view) {
  const most = Math.max(0, ...view.rows.flatMap((row) => [row[1], row[3]]).filter(isNumber));
  const [size, name, by] = unitOf(view.key, most);
  return { by: by || size, name, show: (value) => `${number(value / (by || size), 3)}${name ? `\u00a0${name}` : ""}` };
}

const hostName = (key) => key.replace(/^(host|jax)\//, "").replace(/_bytes_per_s\b/, "").replace(/_(bytes|fraction|w|c|s)\b/, "").replaceAll("_", " ").replaceAll("/", " · ");

function showHosts() {
  const views = all.run.hosts;
  hosts.show(views.length > 0);
  const count = Math.max(0, ...views.map((each) => each.of));
  hosts.lead(count > 1 ? `what ${number(count)} processes and their machines use; of neighbouring steps the largest value` : "what the process and its machine use; of neighbouring steps the largest value");
  hosts.fill([all.run.name, views.map((each) => [each.key, each.lines.length])], buildHosts);
}

function buildHosts(body) {
  const grid = el("div", { class: "grid" });
  const drawn = all.run.hosts.map((view, at) => {
    const last = el("span", { class: "last" });
    const host = el("article", { class: "chart" }, el("header", {}, el("h4", { title: visible(view.key) }, say(hostName(view.key), 80)), last));
    grid.append(host);
    return { last, made: figure(host, () => drawHost(all.run.hosts[at]), { zooms: true, height: 150 }), at };
  });
  const list = table({ caption: "By process", page: 12, narrow: true, id: (row) => row.slice(0, 2).join(), columns: [
    { name: "metric", bare: true, value: (row) => hostName(row[0]), wide: true, show: (row) => el("span", { title: visible(row[0]) }, say(hostName(row[0]), 80)) },
    { name: "process", isNumber: true, value: (row) => row[1], show: (row) => (row[1] === null ? "all" : number(row[1])) },
    { name: "latest", isNumber: true, value: (row) => row[2], show: (row) => row[6].show(row[2]) },
    { name: "peak", isNumber: true, value: (row) => row[4], show: (row) => el("span", { title: row[7] ? "the least" : "the most" }, row[6].show(row[4]), row[7] ? " least" : "") },
    { name: "at step", isNumber: true, value: (row) => row[5] },
  ] });
  const names = (all.run.hosts.find((view) => view.of > 1) || { lines: [] }).lines.map(([name]) => name);
  const legend = el("ul", { class: "legend" }, names.map((name, at) => { const dot = el("i", {}); dot.style.background = `var(--run${at % 8})`; return el("li", {}, dot, name); }));
  body.append(...(names.length ? [legend] : []), grid, list.node);
  return () => {
    for (const { last, made, at } of drawn) {
      const view = all.run.hosts[at], units = unitsOf(view), latest = view.rows.map((row) => row[1]);
      const one = (view.is_low ? Math.min : Math.max)(...latest);
      last.textContent = latest.length ? units.show(one) : "";
      last.title = latest.length > 1 ? (view.is_low ? "the least of all processes, lately" : "the most of all processes, lately") : "the last value";
      made.redraw();
    }
    list.update(all.run.hosts.flatMap((view) => { const units = unitsOf(view); return view.rows.map((row) => [view.key, ...row, units, view.is_low]); }));
  };
}

function drawHost(view) {
  const units = unitsOf(view), run = all.run;
  const steps = onAxis(run, all.data.array(view.steps));
  const x = all.axis === "time" ? Array.from(steps, (value) => new Date(value).toISOString().slice(0, 23)) : Array.from(steps);
  const traces = view.lines.map(([name, ref], at) => ({ type: "scatter", mode: x.length > 40 ? "lines" : "lines+markers", marker: { size: 4 }, connectgaps: true, x, y: Array.from(all.data.array(ref), (value) => (Number.isFinite(value) ? value / units.by : null)),
    line: { width: 1.5, color: colour(`--run${at % 8}`), dash: at >= 8 ? "dot" : "solid" }, hovertemplate: `%{y:.4~g} ${units.name}<extra>${name}</extra>` }));
  const peaks = view.rows.map((row) => `${row[0] === null ? "all" : `process ${row[0]}`}: last ${units.show(row[1])}, ${view.is_low ? "least" : "most"} ${units.show(row[3])}`).slice(0, 12);
  return { traces, layout: { hovermode: "x unified", xaxis: axisLayout(), yaxis: { ticksuffix: units.name === "%" ? " %" : "", rangemode: "tozero" } }, label: `${view.key}${units.name ? ` in ${units.name}` : ""}. ${peaks.join(". ")}` };
}
