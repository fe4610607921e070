// Rows of sample tables.

const samples = section("samples", "Samples");
const sampleTables = new Map(); // by run and table: kept, so that search, page and open rows stay
let chosenSamples = null;

function cellShade(value, low, high) {
  const part = high > low ? (value - low) / (high - low) : 0.5;
  return `color-mix(in oklab, var(--reward-high) ${Math.round(100 * part)}%, var(--reward-low))`;
}

const isReward = (name) => /reward|score|correct|advantage|accuracy|return/i.test(name);

function showSamples() {
  const run = all.run, tables = run.samples.filter((each) => each.rows.length);
  samples.show(tables.length > 0);
  if (!tables.length) { samples.body.replaceChildren(); return; }
  if (!tables.some((each) => each.table === chosenSamples)) chosenSamples = tables[0].table;
  const found = tables.find((each) => each.table === chosenSamples);
  const name = JSON.stringify([run.name, found.table, found.columns]);
  let made = sampleTables.get(name);
  if (!made) {
    made = sampleTable(found);
    sampleTables.set(name, made);
  }
  made.take(found);
  const tabs = tables.length > 1 ? el("div", { class: "tabs", role: "group", "aria-label": "Sample tables" }, tables.map((each) => el("button", { type: "button", "aria-pressed": String(each === found), onclick: () => { chosenSamples = each.table; showSamples(); } }, say(each.table, 80)))) : null;
  const left = found.recorded - found.rows.length, of = tables.length > 1 ? "" : ` of ${visible(found.table)}`;
  const step = found.columns.indexOf("step"), steps = new Set(found.rows.map((row) => row[step])).size;
  const which = found.chosen ? `of ${counted(steps, "step")}${steps > 1 ? ", most of them of the newest" : ""}; of each step the best and the worst by ${visible(found.ranked_by)}, and some of every process` : "those that are here and that no later attempt went over";
  samples.lead(left > 0 ? el("span", {}, `${number(found.rows.length)} of ${number(found.recorded)} recorded rows${of}, ${which}. `, el("code", {}, say(`sightline export ${run.dir} --samples ${found.table}`, 400)), " writes all") : `all ${number(found.rows.length)} recorded rows${of}`);
  if (samples.body.lastChild !== made.list.node || tabs) samples.body.replaceChildren(...[tabs, made.list.node].filter(Boolean));
}

/** Numbers that are not finite are kept as texts. */
const NOT_FINITE = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const isNotFinite = (value) => typeof value === "string" && Object.hasOwn(NOT_FINITE, value);

function sampleTable(given) {
  const ranges = given.columns.map(() => [Infinity, -Infinity]);
  const ids = new Map();
  const numeric = given.columns.map((_, at) => given.rows.some((row) => typeof row[at] === "number") && given.rows.every((row) => row[at] === null || row[at] === undefined || typeof row[at] === "number" || isNotFinite(row[at])));
  const isLong = (value) => typeof value === "string" && (value.length > 24 || /\n/.test(value));
  const columns = given.columns.map((column, at) => ({
    name: column, isNumber: numeric[at], wide: given.rows.some((row) => isLong(row[at])), value: (row) => (numeric[at] && isNotFinite(row[at]) ? NOT_FINITE[row[at]] : row[at]),
    show: (row, cell) => {
      const value = numeric[at] && isNotFinite(row[at]) ? NOT_FINITE[row[at]] : row[at];
      if (typeof value === "number") {
        const [low, high] = ranges[at];
        if ((isReward(column) || column === given.ranked_by) && Number.isFinite(low) && isNumber(value)) { cell.classList.add("shaded"); cell.style.setProperty("--shade", cellShade(value, low, high)); }
        return number(value);
      }
      if (typeof value === "boolean") return String(value);
      return el("span", { class: "clip" }, say(value ?? "–", 240));
    },
  }));
  const list = table({ caption: given.table.length > 80 ? visible(given.table.slice(0, 80)) : visible(given.table), columns, page: 10, sort: [0, true], id: (row) => ids.get(row), empty: "no rows",
    detail: (row) => {
      const texts = given.columns.flatMap((column, at) => (isLong(row[at]) ? [block(column, row[at])] : []));
      const rest = given.columns.flatMap((column, at) => (isLong(row[at]) ? [] : [el("span", { class: "fact" }, say(column, 60), " ", el("b", {}, say(row[at] ?? "–")))]));
      return [el("p", { class: "factline" }, rest), el("div", { class: "texts" }, texts)];
    } });
  return { list, take(found) {
    ranges.forEach((range, at) => {
      const values = found.rows.map((row) => row[at]).filter(isNumber);
      range[0] = values.reduce((a, b) => Math.min(a, b), Infinity);
      range[1] = values.reduce((a, b) => Math.max(a, b), -Infinity);
    });
    const seen = new Map();
    for (const row of found.rows) {
      const text = row.map((each) => (typeof each === "string" ? each.slice(0, 80) : each)).join("\u0000");
      seen.set(text, (seen.get(text) || 0) + 1);
      ids.set(row, `${text}\u0000${seen.get(text)}`);
    }
    list.update(found.rows);
  } };
}
