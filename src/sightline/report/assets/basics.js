// Elements, text that cannot act, and numbers for people.

/** An element: attributes and listeners by name, children as nodes or as text. Never as HTML. */
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return node;
}

// What cannot be seen, or turns what stands around it: controls, direction marks, zero-width and tag characters,
// line separators, halves of characters.
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;
const MOST_MARKS = 2000;

const codeOf = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
/** An emoji that is joined of several is one character. */
const joins = (text, at) => text[at] === "\u200d" && /\p{Extended_Pictographic}\ufe0f?$/u.test(text.slice(Math.max(0, at - 4), at));

/** A text as it may stand in an attribute or in a drawing. */
function visible(value) {
  const text = String(value);
  return text.replace(ODD, (char, at) => (joins(text, at) ? char : `‹${codeOf(char)}›`));
}

/** A text as nodes in which what is odd is marked. */
function say(value, most = Infinity) {
  let text = String(value);
  const length = text.length;
  if (length > most) text = text.slice(0, most).replace(/[\ud800-\udbff]$/, ""); // not half a character
  const part = document.createDocumentFragment();
  let from = 0, marks = 0;
  for (const found of text.matchAll(ODD)) {
    if (joins(text, found.index)) continue;
    if (++marks > MOST_MARKS) { part.append(visible(text.slice(from))); from = text.length; break; }
    part.append(text.slice(from, found.index), el("span", { class: "odd", title: codeOf(found[0]) }, `‹${codeOf(found[0])}›`));
    from = found.index + found[0].length;
  }
  part.append(text.slice(from));
  if (length > most) part.append(el("span", { class: "cut" }, "…"));
  return part;
}

/** A key, which may break after a slash, or an underscore that more than a unit follows. */
function broken(key, most = 80) {
  return [...String(key).slice(0, most).split(/(?<=\/)|(?<=_)(?=[^/_]{3})/).flatMap((part, at) => (at ? [el("wbr", {}), say(part)] : [say(part)])), String(key).length > most ? "…" : null].filter(Boolean);
}

/** A text for the plotting library, which reads tags, entities and `%{…}` in its labels. */
const label = (value, most = 80) => visible(String(value).slice(0, most)).replace(/[&<>]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[char]).replaceAll("%{", "%\u2060{");

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return value.toLocaleString("en").replace("-", "−");
  if (size >= 1e6 && size < 1e15) {
    const [power, unit] = size >= 1e12 ? [1e12, "T"] : size >= 1e9 ? [1e9, "G"] : [1e6, "M"];
    return (value / power).toPrecision(digits).replace(/\.?0+$/, "").replace("-", "−") + " " + unit;
  }
  if (size >= 1e15 || size < 1e-4) return value.toExponential(Math.max(0, digits - 2)).replace("-", "−");
  const shown = Number(value.toPrecision(digits));
  return (size >= 1e4 ? shown.toLocaleString("en", { maximumFractionDigits: 0 }) : String(shown)).replace("-", "−");
}

/** How many of something. */
const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

function seconds(value) {
  if (!isNumber(value)) return "–";
  if (value < 1e-3 && value > 0) return `${number(value * 1e6, 3)} µs`;
  if (value < 1) return `${number(value * 1e3, 3)} ms`;
  if (value < 120) return `${number(value, 3)} s`;
  value = Math.round(value);
  if (value < 7200) return `${Math.floor(value / 60)} min ${value % 60} s`;
  if (value < 172800) return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86400)} d ${Math.round((value % 86400) / 3600)} h`;
}

const percent = (share) => (isNumber(share) ? share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(share >= 0.1 || share === 0 ? 0 : 1)} %` : "–");

function moment(time, withDate = true) {
  if (!isNumber(time) || !time) return "–";
  const date = new Date(time * 1000);
  const day = `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
  const clock = date.toLocaleTimeString("en-GB");
  return withDate ? `${day} ${clock}` : clock;
}

function later(wait, action) {
  let timer = 0;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => action(...given), wait); };
}

const kept = {
  get(name) { try { return localStorage.getItem(`sightline.${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`sightline.${name}`, value); } catch { /* a file may have no storage */ } },
};

/** A section of the page, with its heading; sections that have nothing to show are not there. */
const sections = [];
function section(id, title, lead) {
  const body = el("div", { class: "body" });
  const heading = el("h2", { id: `${id}-title` }, title);
  const note = el("p", { class: "lead" }, lead || "");
  const node = el("section", { id, "aria-labelledby": `${id}-title` }, el("div", { class: "head" }, heading, note), body);
  const link = el("a", { href: `#${id}` }, title);
  const made = {
    id, node, body, link,
    lead(text) { note.replaceChildren(text); },
    show(is) { node.hidden = !is; link.hidden = !is; },
    /**
     * Builds the section where its parts are others than before; else only brings them up to date, so that nothing
     * flickers and what the reader has opened stays.
     * @param parts what decides which parts there are
     * @param build fills the section, and returns what brings it up to date
     */
    fill(parts, build) {
      const signature = JSON.stringify(parts);
      if (made.signature !== signature) {
        made.signature = signature;
        emptied(body);
        made.renew = build(body);
      }
      made.renew();
    },
  };
  sections.push(made);
  return made;
}
