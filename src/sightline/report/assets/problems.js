// What went wrong, and when.

const problemsSection = section("problems", "Events");
const PROBLEMS = ["crash", "error", "stall", "silent", "missing", "non-finite", "late", "warning", "resumed", "attempt", "end"];
const problemColour = (kind) => colour(`--problem-${kind}`);
const hiddenKinds = new Set();
/** What happened; of an attempt that was cut off also when it was heard of last. */
const whatOf = (row) => (row[1] === "crash" ? `${row[4]}; last heard ${moment(row[0], false)}` : row[4]);
const problemsOf = (kind) => all.run.problems.filter((row) => row[1] === kind);
const countOf = (kind) => problemsOf(kind).reduce((sum, row) => sum + row[5], all.run.problems_left_out[kind] || 0);
const presentKinds = () => PROBLEMS.filter((kind) => problemsOf(kind).length);

problemsSection.lead("warnings, errors, attempts, missing processes, stalls, late snapshots and values that are not finite, on one axis of time");

function showProblems() {
  problemsSection.fill([all.run.name, document.documentElement.dataset.theme, presentKinds()], buildProblems);
}

function buildProblems(body) {
  const list = table({ caption: "Events, the latest first", page: 15, sort: [0, true], id: (row) => row.slice(0, 5).join("\u0000"), empty: "nothing was noticed",
    filter: (row) => !hiddenKinds.has(row[1]),
    columns: [
      { name: "time", bare: true, value: (row) => row[0], show: (row) => el("time", { datetime: row[0] ? new Date(row[0] * 1000).toISOString() : null }, moment(row[0])) },
      { name: "kind", bare: true, value: (row) => row[1], show: (row) => { const dot = el("i", { class: "mark" }); dot.style.background = problemColour(row[1]); return el("span", { class: "nowrap" }, dot, row[1]); } },
      { name: "step", isNumber: true, value: (row) => row[2] },
      { name: "process", isNumber: true, value: (row) => row[3] },
      { name: "what", bare: true, wide: true, value: whatOf },
      { name: "times", isNumber: true, value: (row) => row[5], show: (row) => (row[5] > 1 ? number(row[5]) : "") },
    ],
    detail: (row) => [block("what", whatOf(row)), row[6] ? block("more", row[6]) : null] });
  const present = presentKinds(), counts = new Map();
  const host = el("article", { class: "chart is-wide" }), note = el("p", { class: "note" });
  const toggles = el("div", { class: "tabs", role: "group", "aria-label": "Kinds of events" }, present.map((kind) => {
    const dot = el("i", { class: "mark" }), words = el("span", {});
    dot.style.background = problemColour(kind);
    counts.set(kind, words);
    const button = el("button", { type: "button", "aria-pressed": String(!hiddenKinds.has(kind)), onclick: () => {
      if (hiddenKinds.has(kind)) hiddenKinds.delete(kind); else hiddenKinds.add(kind);
      button.setAttribute("aria-pressed", String(!hiddenKinds.has(kind)));
      drawn.redraw();
      list.show();
    } }, dot, words);
    return button;
  }));
  host.append(el("header", {}, toggles));
  body.append(...(present.length ? [host] : []), note, list.node);
  const drawn = present.length ? figure(host, () => drawProblems(present), { height: 66 + 24 * present.length }) : { redraw() {} };
  return () => {
    for (const [kind, words] of counts) words.textContent = `${kind} ${number(countOf(kind))}`;
    const unread = all.run.logs_left_out, skipped = Object.entries(all.run.problems_left_out);
    const between = skipped.map(([kind, count]) => ["error", "warning"].includes(kind) ? counted(count, kind) : `${number(count)} ${kind}`);
    note.hidden = !unread && !skipped.length;
    note.replaceChildren(...[unread ? `The logs are long: ${number(unread / 1e6, 3)} MB at their beginnings were not read. ` : null, skipped.length ? `Shown are the first and the last of each kind; between them are ${between.join(", ")} more. ` : null, el("code", {}, "sightline logs --level warning"), " shows all of the logs."].filter(Boolean));
    list.update([...all.run.problems].reverse()); // of one moment the later one first
    drawn.redraw();
  };
}

function drawProblems(present) {
  const lanes = present.filter((kind) => !hiddenKinds.has(kind));
  const at = (time) => new Date(time * 1000 - shiftOf(time * 1000)).toISOString().slice(0, 23);
  const traces = lanes.flatMap((kind) => {
    const those = problemsOf(kind).filter((row) => row[0]);
    const lasted = those.filter((row) => row[7]).flatMap((row) => [[at(row[0]), kind], [at(row[7]), kind], [null, null]]);
    return [...(lasted.length ? [{ type: "scatter", mode: "lines", x: lasted.map((each) => each[0]), y: lasted.map((each) => each[1]), line: { width: 7, color: faded(problemColour(kind), 0.45) }, hoverinfo: "skip" }] : []), { type: "scatter", mode: "markers", x: those.map((row) => at(row[0])), y: those.map(() => kind),
      marker: { symbol: "line-ns-open", size: 13, color: problemColour(kind), line: { width: 2, color: problemColour(kind) } },
      text: those.map((row) => label(whatOf(row), 140).replace(/(.{60,80}?)\s/g, "$1<br>")), hovertemplate: "%{text}<extra></extra>" }];
  });
  return { traces, layout: { hovermode: "closest", margin: { l: 74 }, xaxis: { type: "date" }, yaxis: { type: "category", categoryorder: "array", categoryarray: [...lanes].reverse(), tickmode: "linear", dtick: 1, showgrid: true } },
    label: `Events over time: ${present.map((kind) => `${countOf(kind)} ${kind}`).join(", ")}` };
}
