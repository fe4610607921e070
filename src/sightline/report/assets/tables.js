// Tables that can be sorted, searched and paged, and whose rows may open.

const compare = (a, b) => {
  const isNone = (value) => value === null || value === undefined || Number.isNaN(value);
  const x = isNone(a), y = isNone(b);
  if (x || y) return x - y;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
};

/**
 * @param options `caption`; `columns`, each with `name`, `value(row)`, and perhaps `show(row)`, `isNumber`, `wide`,
 *   `bare`: where a row is a block, on a narrow screen, its value needs no name before it;
 *   `page`: how many rows; `search`: whether there is a field; `detail(row)`: what an open row shows;
 *   `id(row)`: by which a row stays open when there is new data; `sort`: [column, descending]; `filters`.
 */
function table(options) {
  const { caption, columns, page = 12, search = true, detail, id = (row) => row, empty = "nothing" } = options;
  let rows = [], query = "", sort = options.sort || null, at = 0;
  const open = new Set();
  // The roles say what the style sheet takes away where rows are blocks.
  const head = el("tr", { role: "row" });
  const body = el("tbody", { role: "rowgroup" });
  const count = el("span", { class: "count", role: "status" });
  const previous = el("button", { type: "button", "aria-label": "Previous page", onclick: () => { at--; show(); } }, "‹");
  const next = el("button", { type: "button", "aria-label": "Next page", onclick: () => { at++; show(); } }, "›");
  const field = el("input", { type: "search", placeholder: "search", "aria-label": `Search in ${caption}`,
    oninput: later(120, (event) => { query = event.target.value.toLowerCase(); at = 0; show(); }) });
  const whole = el("table", { class: "rows", role: "table" }, el("caption", {}, caption), el("thead", { role: "rowgroup" }, head), body);
  const pager = el("span", { class: "pager" }, previous, next);
  const node = el("div", { class: `table ${options.narrow ? "narrow" : ""}` },
    el("div", { class: "tools" }, search ? field : null, ...(options.tools || []), el("span", { class: "spring" }), count, pager),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole));
  const headings = columns.map((column, index) => {
    const button = el("button", { type: "button", onclick: () => {
      const isNumeric = column.isNumber;
      sort = sort && sort[0] === index ? (sort[1] === Boolean(isNumeric) ? [index, !sort[1]] : null) : [index, Boolean(isNumeric)];
      at = 0;
      show();
    } }, say(column.name, 60));
    const cell = el("th", { scope: "col", role: "columnheader", class: column.isNumber ? "num" : "" }, button);
    head.append(cell);
    return cell;
  });
  if (detail) head.prepend(el("th", { scope: "col", role: "columnheader", class: "opener" }, el("span", { class: "hidden" }, "open")));
  function chosen() {
    let found = rows;
    if (options.filter) found = found.filter(options.filter);
    if (query) {
      found = found.filter((row) => columns.some((column) => String(column.value(row) ?? "").toLowerCase().includes(query)));
    }
    if (sort) {
      const value = columns[sort[0]].value, sign = sort[1] ? -1 : 1;
      found = [...found].sort((a, b) => sign * compare(value(a), value(b)));
    }
    return found;
  }
  function show() {
    const found = chosen();
    const pages = Math.max(1, Math.ceil(found.length / page));
    at = Math.min(Math.max(0, at), pages - 1);
    headings.forEach((cell, index) => cell.setAttribute("aria-sort", sort && sort[0] === index ? (sort[1] ? "descending" : "ascending") : "none"));
    const from = at * page;
    body.replaceChildren(...found.slice(from, from + page).flatMap((row, each) => line(row, from + each + 1)));
    if (!found.length) body.append(el("tr", { role: "row" }, el("td", { role: "cell", colspan: columns.length + (detail ? 1 : 0), class: "none" }, query ? "nothing like it" : empty)));
    count.textContent = found.length > page ? `${from + 1}–${Math.min(from + page, found.length)} of ${found.length}` : `${found.length}`;
    pager.hidden = pages < 2;
    pager.parentElement.hidden = pages < 2 && !search;
    previous.disabled = at === 0;
    next.disabled = at === pages - 1;
  }
  function line(row, place) {
    const name = id(row), isOpen = open.has(name);
    const cells = columns.map((column) => {
      const value = column.value(row);
      const cell = el("td", { role: "cell", "data-name": column.bare ? null : visible(String(column.name).slice(0, 60)), class: [column.isNumber && "num", column.wide && "wide"].filter(Boolean).join(" ") });
      cell.append(column.show ? column.show(row, cell) : say(column.isNumber ? number(value) : value ?? "–", 400));
      if (["", "–"].includes(cell.textContent)) cell.classList.add("nil");
      return cell;
    });
    if (!detail) return [el("tr", { role: "row" }, cells)];
    const toggle = () => {
      if (open.has(name)) open.delete(name); else open.add(name);
      const focused = document.activeElement && document.activeElement.closest("tr") === main;
      const fresh = line(row, place);
      if (isOpen && main.nextSibling && main.nextSibling.classList.contains("detail")) main.nextSibling.remove();
      main.replaceWith(...fresh);
      if (focused) fresh[0].querySelector("button").focus();
    };
    const opener = el("button", { type: "button", class: "open", "aria-expanded": String(isOpen), "aria-label": `${isOpen ? "Close" : "Open"} row ${place}` }, isOpen ? "▾" : "▸");
    const main = el("tr", { role: "row", class: `opens ${isOpen ? "is-open" : ""}`, onclick: (event) => {
      if (event.target.closest("button") || !String(getSelection())) toggle();
    } }, el("td", { role: "cell", class: "opener" }, opener), cells);
    return isOpen ? [main, el("tr", { role: "row", class: "detail" }, el("td", { role: "cell", colspan: columns.length + 1 }, detail(row)))] : [main];
  }
  show();
  return { node, update(fresh) { rows = fresh; show(); }, show };
}

const FOLDS = 10000, FOLDED = 3000; // characters: of longer texts so many are shown at first
const unfolded = new Set();

/** Puts a text into a node; of a long one the beginning, and returns a button that shows the rest. */
function folding(node, value, longest = FOLDS, shown = FOLDED) {
  const text = String(value);
  if (text.length <= longest) { node.append(say(text)); return null; }
  const name = `${text.length} ${text.slice(0, 200)}`; // by which it stays as it is when there is new data
  const button = el("button", { type: "button", class: "fold", onclick: () => {
    if (unfolded.has(name)) unfolded.delete(name); else unfolded.add(name);
    show();
  } });
  function show() {
    const isWhole = unfolded.has(name);
    node.replaceChildren(isWhole ? say(text) : say(text, shown));
    button.setAttribute("aria-expanded", String(isWhole));
    button.textContent = isWhole ? "Show less" : `Show all ${text.length.toLocaleString("en")} characters`;
  }
  show();
  return button;
}

function block(title, value) {
  const pre = el("pre", { tabindex: "0", role: "region", "aria-label": visible(String(title).slice(0, 80)) });
  const button = folding(pre, value);
  return el("div", { class: "text" }, el("h4", {}, say(title, 80), el("small", {}, ` ${counted(String(value).length, "character")}`)), pre, button);
}
