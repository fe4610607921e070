// What the run was: configuration, versions, command, git, hosts.

const facts = section("facts", "Run");
let factQuery = "";
const MOST_LINES = 100; // of a branch, until the rest is asked for

/** What facts are in words, where the plain value says little. */
const SAID = {
  started: (value) => isNumber(value) && moment(value),
  git: (value) => value === null && "no repository",
};

/** @param said whether it is a fact, which may be told in words */
function tree(value, name, query, depth = 0, said = false) {
  if (name === "command" && Array.isArray(value)) value = value.join(" ");
  const isBranch = value && typeof value === "object" && Object.keys(value).length > 0;
  if (!isBranch) {
    const text = (said && Object.hasOwn(SAID, name) && SAID[name](value)) || (value && typeof value === "object" ? (Array.isArray(value) ? "[]" : "{}") : typeof value === "string" ? value : String(value));
    if (query && !`${name} ${text}`.toLowerCase().includes(query)) return null;
    const leaf = el("span", { class: `leaf ${typeof value}` }), more = folding(leaf, text, 1500, 800);
    return el("li", {}, el("span", { class: "name" }, say(name, 200)), leaf, more);
  }
  const own = query && String(name).toLowerCase().includes(query);
  const inside = Object.entries(value).map(([key, each]) => tree(each, key, own ? "" : query, depth + 1)).filter(Boolean);
  if (!inside.length) return null;
  const list = el("ul", {}, inside.slice(0, MOST_LINES)), rest = inside.slice(MOST_LINES);
  const more = rest.length > 0 && el("button", { type: "button", class: "fold", onclick: (event) => { list.append(...rest); event.target.remove(); } }, `Show ${number(rest.length)} more`);
  const isOpen = Boolean(query) || (depth < 1 && name !== "sightline" && !Array.isArray(value));
  return el("li", {}, el("details", { open: isOpen }, el("summary", {}, el("span", { class: "name" }, say(name, 200)), el("small", {}, ` ${number(Object.keys(value).length)}`)), list, more));
}

function showFacts() {
  const run = all.run;
  const field = facts.body.querySelector("input") || el("input", { type: "search", placeholder: "search the configuration", "aria-label": "Search the configuration", oninput: later(120, (event) => { factQuery = event.target.value.toLowerCase(); showTrees(); }) });
  const host = facts.body.querySelector(".trees") || el("div", { class: "trees" });
  if (!field.isConnected) facts.body.append(el("div", { class: "tools" }, field), host);
  facts.lead(visible(run.dir));
  function showTrees() {
    const texts = Object.fromEntries(all.run.texts.map(([key, step, text]) => [`${key} (step ${step})`, text]));
    const parts = [["Configuration", all.run.config], ["Facts", all.run.facts], ["Texts", texts]]
      .filter(([, value]) => value && typeof value === "object" && Object.keys(value).length)
      .map(([title, value]) => [title, Object.entries(value).map(([key, each]) => tree(each, key, factQuery, 0, title === "Facts")).filter(Boolean)]);
    host.replaceChildren(...parts.map(([title, lines]) => el("div", { class: "tree" }, el("h3", {}, title), lines.length ? el("ul", {}, lines) : el("p", { class: "note" }, "nothing like it"))));
    if (!parts.length) host.append(el("p", { class: "note" }, "There is no run.json beside the journal."));
  }
  if (facts.shown !== JSON.stringify([run.name, run.config, run.facts, run.texts])) {
    facts.shown = JSON.stringify([run.name, run.config, run.facts, run.texts]);
    showTrees();
  }
}
