// The figures at the top, where the time went, and how the runs differ.

const KINDS = ["rollouts", "training", "reward", "weights", "data", "evaluation", "checkpoint", "waiting", "other", "outside"];
const kindName = (kind) => (kind === "outside" ? "outside of steps" : kind);
const kindColour = (kind) => colour(`--kind-${KINDS.includes(kind) ? kind : "other"}`);
const stateClass = (state) => `pill ${["running", "finished", "failed", "crashed", "stalled"].includes(state) ? state : ""}`;

function card(title, value, more, extra) {
  return el("article", { class: "card" }, el("h3", {}, title), el("p", { class: "value" }, value), el("p", { class: "more" }, more || " "), extra || null);
}

function sparkline(values, name) {
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 100 26");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${visible(name)} from ${number(values[0])} to ${number(values[values.length - 1])}`);
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", values.map((each, at) => `${(100 * at) / Math.max(1, values.length - 1)},${(24 - (22 * (each - low)) / span).toFixed(2)}`).join(" "));
  svg.append(line);
  return svg;
}

/** Shares as one bar and a legend, which add up to all. */
function shareBar(kinds, caption) {
  const order = Object.entries(kinds).sort((a, b) => KINDS.indexOf(a[0]) - KINDS.indexOf(b[0]));
  const bar = el("div", { class: "sharebar", role: "img", "aria-label": `${caption}: ${order.map(([kind, share]) => `${kindName(kind)} ${percent(share)}`).join(", ")}` });
  const legend = el("ul", { class: "legend" });
  for (const [kind, share] of order) {
    const part = el("span", { title: `${visible(kindName(kind))} ${percent(share)}` });
    part.style.flexGrow = String(Math.max(share, 0));
    part.style.background = kindColour(kind);
    if (share > 0) bar.append(part);
    const dot = el("i", {});
    dot.style.background = kindColour(kind);
    legend.append(el("li", {}, dot, say(kindName(kind)), el("b", {}, percent(share))));
  }
  return el("div", { class: "shares" }, bar, legend);
}

const overview = section("overview", "Overview");

/** What a kind of event is in numbers, one and many; the gravest first. */
const TROUBLES = [
  ["crash", "crash", "crashes"], ["error", "error"], ["stall", "stall"], ["silent", "silence"],
  ["missing", "loss of processes", "losses of processes"], ["non-finite", "non-finite value"], ["warning", "warning"], ["late", "late snapshot"],
];

/** How often each kind is there, with its words. */
function troubles(run) {
  const found = new Map();
  for (const [, kind, , , , count] of run.problems) found.set(kind, (found.get(kind) || 0) + count);
  for (const [kind, count] of Object.entries(run.problems_left_out)) found.set(kind, (found.get(kind) || 0) + count);
  return TROUBLES.flatMap(([kind, one, many]) => (found.get(kind) ? [[found.get(kind), one, many]] : []));
}

/** What went wrong, in numbers: exact ones, where all logs were read. */
function troubleCard(run) {
  const found = troubles(run), total = found.reduce((sum, [count]) => sum + count, 0);
  if (!total) return card("Trouble", "none", "nothing was noticed");
  return card("Trouble", run.logs_left_out ? `${number(total)} or more` : number(total), el("a", { href: "#problems" }, found.map((each) => counted(...each)).join(", ")));
}

function cards(run) {
  const top = run.headline, found = [];
  const total = top.total_steps;
  found.push(card("State", el("span", { class: stateClass(top.state) }, say(top.state)), say(top.reason ? top.reason : top.attempts > 1 ? `${top.attempts} attempts` : counted(top.processes, "process", "processes"), 160)));
  const share = total && top.last_step !== null ? Math.min(1, (top.last_step + 1) / total) : null;
  found.push(card("Steps", number(top.last_step), total ? `of ${number(total - 1)} · ${counted(top.commits, "commit")}` : counted(top.commits, "commit"),
    share === null ? null : el("progress", { max: "1", value: String(share), "aria-label": "Steps done" })));
  found.push(card("Wall time", seconds(top.wall_s), `${top.attempts > 1 ? `in ${number(top.attempts)} attempts, ${seconds(top.elapsed_s)} with the pauses between them, ` : ""}since ${moment(top.started)}`));
  if (top.away.length) found.push(card("Processes", el("span", { class: "bad" }, `${number(top.reported[0])} of ${number(top.reported[1])}`), el("a", { href: "#problems" }, say(top.away.join("; "), 200))));
  if (top.learnt) {
    const { key, first, last, line, over } = top.learnt;
    found.push(card(el("span", { title: visible(key) }, broken(key)), el("span", { class: "nowrap" }, `${number(first, 3)} → ${number(last, 3)}`), `mean of the first and last ${over > 1 ? `${number(over)} values` : "value"}`, line.length > 1 ? sparkline(line, key) : null));
  }
  for (const best of top.best.slice(0, 2)) {
    found.push(card(el("span", { title: visible(best.key) }, "Best ", broken(best.key)), score(best, best.value), best.over > 1 ? `at step ${number(best.step)} · last ${score(best, best.last)}` : `at step ${number(best.step)}`));
  }
  if (top.throughput) found.push(card(el("span", { title: visible(top.throughput.key) }, broken(top.throughput.key)), number(top.throughput.median, 3), `lately · last ${number(top.throughput.last, 3)}`));
  if (top.goodput !== null) found.push(card("Goodput", percent(top.goodput), top.of_no_kind ? say(`of the wall time goes into training; ${top.of_no_kind}`, 300) : "of the wall time goes into training"));
  found.push(troubleCard(run));
  const host = el("div", { class: "cards" }, found);
  even.disconnect();
  even.observe(host);
  return host;
}

/** As many cards in each row; what is left over makes the first ones wider that have a drawing. */
const even = new ResizeObserver(([entry]) => {
  const cards = [...entry.target.children], width = entry.contentRect.width;
  const rows = Math.ceil(cards.length / Math.max(2, Math.floor((width + 10) / 158)));
  const columns = Math.ceil(cards.length / rows);
  let left = columns * rows - cards.length;
  entry.target.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  for (const each of cards) each.classList.remove("is-wide");
  for (const each of [...cards].sort((a, b) => Boolean(b.querySelector("svg")) - Boolean(a.querySelector("svg")))) {
    if (left-- <= 0) break;
    each.classList.add("is-wide");
  }
});

const score = (best, value) => (/acc|pass@|rate|correct|hr@|recall|precision|success|win|share/.test(best.key) && Math.max(best.value, best.last, best.first) <= 1 && Math.min(best.value, best.last, best.first) >= 0 ? `${(100 * value).toFixed(1)} %` : number(value));

function bestTable(run) {
  const list = table({ caption: "Evaluations", page: 12, narrow: true, search: run.headline.best.length > 12, columns: [
    { name: "metric", bare: true, wide: true, value: (each) => each.key, show: (each) => el("span", { title: visible(each.key) }, broken(each.key, 120)) },
    { name: "better", value: (each) => (each.higher ? "higher" : "lower") },
    { name: "first", isNumber: true, value: (each) => each.first, show: (each) => score(each, each.first) },
    { name: "best", isNumber: true, value: (each) => each.value, show: (each) => el("b", {}, score(each, each.value)) },
    { name: "at step", isNumber: true, value: (each) => each.step },
    { name: "last", isNumber: true, value: (each) => each.last, show: (each) => score(each, each.last) },
    { name: "times", isNumber: true, value: (each) => each.over },
  ] });
  list.update(run.headline.best);
  return list.node;
}

function comparison() {
  const rows = [
    ["state", (top) => el("span", { class: stateClass(top.state) }, say(top.state))],
    ["last step", (top) => number(top.last_step)],
    ["wall time", (top) => seconds(top.wall_s)],
    ["learnt", (top) => (top.learnt ? `${number(top.learnt.first, 3)} → ${number(top.learnt.last, 3)}` : "–")],
    ["best", (top) => (top.best.length ? `${number(top.best[0].value)} at step ${number(top.best[0].step)}` : "–")],
    ["throughput", (top) => (top.throughput ? number(top.throughput.median, 3) : "–")],
    ["goodput", (top) => percent(top.goodput)],
  ];
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The runs" }, el("table", { class: "plain" },
    el("caption", {}, "The runs"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, ""), all.runs.map((run) => el("th", { scope: "col" }, runMark(run), say(run.name, 60))))),
    el("tbody", {}, rows.map(([name, show]) => el("tr", {}, el("th", { scope: "row" }, name), all.runs.map((run) => el("td", {}, show(run.headline))))))));
}

const MOST_SETTINGS = 500;

/** Settings by their path; a list is one value. */
function flattened(value, path = "", out = new Map()) {
  if (value && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length) {
    for (const [key, each] of Object.entries(value)) flattened(each, path ? `${path}.${key}` : key, out);
  } else out.set(path, JSON.stringify(value) ?? "–");
  return out;
}

function differences() {
  const configs = all.runs.map((run) => (run.config && Object.keys(run.config).length ? flattened(run.config) : new Map()));
  const names = [...new Set(configs.flatMap((each) => [...each.keys()]))].sort();
  const differ = names.filter((name) => new Set(configs.map((each) => each.get(name))).size > 1);
  if (!differ.length) return el("p", { class: "note" }, "The configurations are the same.");
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Differences of the configurations" }, el("table", { class: "plain mono" },
    el("caption", {}, `Where the configurations differ: ${number(differ.length)} of ${counted(names.length, "setting")}`, differ.length > MOST_SETTINGS ? el("small", {}, ` Shown are the first ${number(MOST_SETTINGS)}; `, el("code", {}, "sightline compare"), " has all.") : null),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "setting"), all.runs.map((run) => el("th", { scope: "col" }, runMark(run), say(run.name, 60))))),
    el("tbody", {}, differ.slice(0, MOST_SETTINGS).map((name) => el("tr", {}, el("th", { scope: "row" }, say(name, 200)), configs.map((each) => el("td", {}, say(each.get(name) ?? "–", 300))))))));
}

function runMark(run) {
  const mark = el("i", { class: "mark", "aria-hidden": "true" });
  mark.style.background = `var(--run${run.index % 8})`;
  return mark;
}

function showOverview() {
  const run = all.run;
  const parts = [cards(run)];
  for (const line of [...run.damaged, ...run.absent]) parts.push(el("p", { class: "note warn" }, say(line, 1000)));
  if (!run.headline.commits) parts.push(el("p", { class: "note" }, run.live ? "No commit yet: what a run records is here from its first commit on." : "No commit: the run ended before its first one, so there are neither metrics nor times."));
  if (Object.keys(run.headline.kinds).length) parts.push(el("h3", {}, "Where the time goes", el("small", {}, ` of ${seconds(run.headline.wall_s)} wall time`)), shareBar(run.headline.kinds, "Share of the wall time by kind"));
  if (run.headline.best.length > 2 || run.headline.best.some((each) => each.over > 2)) parts.push(bestTable(run));
  if (all.runs.length > 1) parts.push(el("h3", {}, "Runs side by side"), el("div", { class: "side" }, comparison(), differences()));
  emptied(overview.body).append(...parts);
  overview.lead(all.runs.length > 1 ? `of ${visible(run.name)}` : "");
}
