// Rollout sessions: what became of them, and how long they took.

const sessions = section("sessions", "Sessions");
const STATUSES = ["accepted", "rejected", "failed", "dropped", "pending", "running"];
const statusColour = (status) => colour(`--status-${STATUSES.includes(status) ? status : "pending"}`);

function showSessions() {
  const run = all.run, found = run.sessions;
  sessions.show(Boolean(found));
  if (!found) return;
  if (found.note) {
    sessions.fill([run.name, found.note], (body) => { body.append(el("p", { class: "note" }, say(found.note))); return () => {}; });
    return;
  }
  sessions.lead(`${number(found.count)} of all processes, joined`);
  sessions.fill([run.name, document.documentElement.dataset.theme, found.staleness.length > 0, phaseNames()], buildSessions);
}

const phaseNames = () => [...new Set(all.run.sessions.shown.flatMap((each) => each.phases.map((phase) => phase[0])))].sort().slice(0, 12);

function buildSessions(body) {
  const shares = el("div", { class: "shares" });
  const latencies = table({ caption: "Latency by phase", search: false, page: 14, narrow: true, columns: [
    { name: "phase", bare: true, value: (row) => row.phase, wide: true }, { name: "n", isNumber: true, value: (row) => row.n },
    ...["mean", "p50", "p95", "p99", "max"].map((name) => ({ name, isNumber: true, value: (row) => row[name], show: (row) => seconds(row[name]) })),
  ] });
  const dots = el("article", { class: "chart" }, el("header", {}, el("h4", {}, "Latency of sessions, by when they began")));
  const stale = all.run.sessions.staleness.length ? el("article", { class: "chart" }, el("header", {}, el("h4", {}, "Staleness, in versions of the policy"))) : null;
  const lives = el("article", { class: "chart is-wide" }, el("header", {}, el("h4", {}, "Lives of the slowest and the latest sessions")));
  const list = table({ caption: "These sessions", page: 10, id: (row) => row.id, sort: [3, true], columns: [
    { name: "task", bare: true, value: (row) => row.task, wide: true },
    { name: "status", bare: true, value: (row) => row.status, show: (row) => { const dot = el("i", { class: "mark" }); dot.style.background = statusColour(row.status); return el("span", { class: "nowrap" }, dot, say(row.status)); } },
    { name: "reason", value: (row) => row.reason, wide: true }, { name: "took", isNumber: true, value: (row) => row.total, show: (row) => seconds(row.total) },
    { name: "step", isNumber: true, value: (row) => row.step }, { name: "stale", isNumber: true, value: (row) => row.staleness }, { name: "retries", isNumber: true, value: (row) => row.retries },
    { name: "processes", value: (row) => row.processes.join(", ") },
  ], detail: (row) => el("ol", { class: "phases" }, row.phases.map(([name, from, until, error]) => el("li", {}, el("b", {}, say(name)), ` from ${seconds(from)} to ${until === null ? "…" : seconds(until)}${until === null ? "" : ` (${seconds(until - from)})`} `, error ? el("span", { class: "bad" }, say(error)) : null))) });
  body.append(shares, el("div", { class: "grid two" }, dots, stale), latencies.node, lives, list.node);
  const names = phaseNames();
  const drawings = [
    figure(dots, drawLatencies, { height: 230 }),
    ...(stale ? [figure(stale, drawStaleness, { height: 230 })] : []),
    figure(lives, () => drawLives(names), { height: Math.min(560, 60 + 7 * all.run.sessions.shown.length) }),
  ];
  lives.append(legendOf(["in no phase", ...names], [colour("--idle"), ...names.map((_, at) => colour(`--stage${at % STAGE_COLOURS}`))]));
  return () => {
    const found = all.run.sessions, total = Object.values(found.statuses).reduce((a, b) => a + b, 0);
    const bar = el("div", { class: "sharebar", role: "img", "aria-label": `Sessions: ${Object.entries(found.statuses).map(([status, count]) => `${count} ${status}`).join(", ")}` });
    const legend = el("ul", { class: "legend" });
    for (const [status, count] of Object.entries(found.statuses)) {
      const part = el("span", {}), dot = el("i", {});
      part.style.flexGrow = String(count);
      part.style.background = dot.style.background = statusColour(status);
      bar.append(part);
      legend.append(el("li", {}, dot, say(status), el("b", {}, `${number(count)}`), ` ${percent(count / total)}`));
    }
    shares.replaceChildren(bar, legend);
    latencies.update(found.phases);
    list.update(found.shown);
    drawings.forEach((each) => each.redraw());
  };
}

function drawLatencies() {
  const found = all.run.sessions;
  const at = Array.from(all.data.array(found.dots.time), (each) => new Date(each * 1000 - shiftOf(each * 1000)).toISOString().slice(0, 23));
  const took = all.data.array(found.dots.total), idle = all.data.array(found.dots.waiting), steps = all.data.array(found.dots.step);
  const traces = Object.keys(found.statuses).map((status) => {
    const those = found.dots.status.flatMap((each, i) => (each === status ? [i] : []));
    return { type: "scatter", mode: "markers", name: label(status), x: those.map((i) => at[i]), y: those.map((i) => took[i]), marker: { size: 4.5, color: faded(statusColour(status), 0.6) },
      text: those.map((i) => `step ${steps[i] < 0 ? "–" : steps[i]}, waiting ${seconds(idle[i])}`), hovertemplate: "%{y:.3~g} s, %{text}" };
  });
  const overall = found.phases[0];
  return { traces, layout: { hovermode: "closest", xaxis: { type: "date" }, yaxis: { ticksuffix: " s", rangemode: "tozero" } },
    label: `Latency of sessions: half within ${seconds(overall.p50)}, 95 % within ${seconds(overall.p95)}, the longest ${seconds(overall.max)}` };
}

function drawStaleness() {
  const found = all.run.sessions;
  return { traces: [{ type: "bar", x: found.staleness.map((each) => each[0]), y: found.staleness.map((each) => each[1]), marker: { color: colour("--run0") }, hovertemplate: "%{y} sessions" }],
    layout: { bargap: 0.25, hovermode: "closest", xaxis: { dtick: found.staleness.length < 20 ? 1 : undefined, ...(found.staleness.length < 4 ? { range: [found.staleness[0][0] - 2.5, found.staleness[found.staleness.length - 1][0] + 2.5] } : {}) } }, label: `Staleness: ${found.staleness.map(([versions, count]) => `${counted(count, "session")} at ${versions}`).join(", ")}` };
}

function drawLives(names) {
  const shown = all.run.sessions.shown, place = shown.map((_, i) => i);
  const traces = [{ type: "bar", orientation: "h", base: place.map(() => 0), x: shown.map((each) => each.total ?? Math.max(0, ...each.phases.map((phase) => phase[2] ?? phase[1]))), y: place, width: 0.86, marker: { color: colour("--idle") }, name: "in no phase",
    text: shown.map((each) => `${label(each.task, 60)}: ${label(each.status)}`), hovertemplate: "%{text}, %{x:.3~g} s<extra></extra>", textposition: "none" }];
  names.forEach((name, at) => {
    const bars = shown.flatMap((each, i) => each.phases.filter((phase) => phase[0] === name).map((phase) => [i, phase[1], (phase[2] ?? each.total ?? phase[1]) - phase[1], each]));
    traces.push({ type: "bar", orientation: "h", name: label(name), y: bars.map((bar) => bar[0]), base: bars.map((bar) => bar[1]), x: bars.map((bar) => bar[2]), width: 0.6, marker: { color: colour(`--stage${at % STAGE_COLOURS}`) },
      text: bars.map((bar) => label(bar[3].task, 60)), hovertemplate: `${label(name)} %{x:.3~g} s<br>%{text}<extra></extra>`, textposition: "none" });
  });
  return { traces, layout: { barmode: "overlay", hovermode: "closest", xaxis: { ticksuffix: " s", showgrid: true, showspikes: false }, yaxis: { autorange: "reversed", showticklabels: false, showgrid: false }, margin: { l: 10 } },
    label: `The phases of ${counted(shown.length, "session")} as bars: ${names.join(", ")}` };
}
