// The page.

const main = document.getElementById("main");

function showRuns() {
  const host = document.getElementById("runs");
  host.hidden = all.runs.length < 2;
  host.replaceChildren();
  if (all.runs.length < 2) return;
  for (const run of all.runs) {
    const toggle = el("button", { type: "button", class: "run", "aria-pressed": String(!all.hidden.has(run.name)), title: visible(run.dir), onclick: () => {
      if (all.hidden.has(run.name)) all.hidden.delete(run.name); else all.hidden.add(run.name);
      toggle.setAttribute("aria-pressed", String(!all.hidden.has(run.name)));
      charts.forEach((each) => { each.refresh(); each.figure.redraw(); });
    } }, runMark(run), say(run.name, 60));
    host.append(toggle);
  }
  const select = el("select", { "aria-label": "Run whose details are shown", onchange: (event) => { all.detail = Number(event.target.value); showDetails(); } });
  for (const run of all.runs) {
    const option = el("option", { value: String(run.index) }, visible(run.name.slice(0, 80)));
    option.selected = run === all.run;
    select.append(option);
  }
  host.append(el("label", { class: "slider" }, "details of", select));
}

function showHead() {
  const title = document.getElementById("title");
  title.replaceChildren(all.runs.length > 1 ? `${all.runs.length} runs` : say(all.run.name, 120));
  title.title = all.runs.map((run) => visible(run.dir)).join(", ");
  const state = document.getElementById("state");
  state.className = stateClass(all.run.headline.state);
  state.textContent = all.runs.length > 1 ? "" : visible(all.run.headline.state);
  state.hidden = all.runs.length > 1;
}

function showDetails() {
  for (const show of [showOverview, showStages, showProcesses, showSessions, showDistributions, showSamples, showProblems, showHosts, showFacts]) {
    try { show(); } catch (error) { console.error(error); }
  }
}

function showAll() {
  showHead();
  showRuns();
  showMetrics();
  showDetails();
}

/** New data in the place of what was there; what the reader has opened, typed and zoomed stays. */
function renew(fresh) {
  const anchor = document.activeElement && document.activeElement.closest("section");
  const top = anchor ? anchor.getBoundingClientRect().top : null;
  const detail = all.run.name;
  all.data = fresh;
  all.detail = Math.max(0, all.runs.findIndex((run) => run.name === detail));
  main.style.minHeight = `${main.offsetHeight}px`;
  const y = scrollY, focused = document.activeElement;
  showAll();
  if (focused && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  if (anchor && anchor.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - top); else scrollTo(scrollX, y);
  main.style.minHeight = "";
}

function setTheme(theme) {
  const dark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const button = document.getElementById("theme");
  button.textContent = dark ? "☀" : "☾";
  button.setAttribute("aria-label", dark ? "Switch to light" : "Switch to dark");
}

function watchSections() {
  const seen = new Map();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) seen.set(entry.target.id, entry.isIntersecting);
    mark();
  }, { rootMargin: "-25% 0px -60% 0px" });
  /** Marks the section that is read: at the top of the page the first one, however short. */
  function mark() {
    const shown = sections.filter((each) => !each.node.hidden);
    const first = (scrollY <= 0 && shown[0]) || shown.find((each) => seen.get(each.id));
    for (const each of sections) {
      if (each !== first) { each.link.removeAttribute("aria-current"); continue; }
      each.link.setAttribute("aria-current", "true");
      const nav = each.link.parentElement;
      nav.scrollLeft += Math.min(0, each.link.offsetLeft - nav.offsetLeft - nav.scrollLeft) + Math.max(0, each.link.offsetLeft - nav.offsetLeft + each.link.offsetWidth - nav.scrollLeft - nav.clientWidth);
    }
  }
  let wasTop = null;
  addEventListener("scroll", () => { if (wasTop !== (wasTop = scrollY <= 0)) mark(); }, { passive: true });
  for (const each of sections) observer.observe(each.node);
}

function keys(event) {
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    document.getElementById("metric-search").focus();
  } else if (event.key === "Escape") {
    if (all.zoom) zoomTo(null);
  } else if (event.key === "t" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    document.getElementById("theme").click();
  }
}

async function begin() {
  setTheme(kept.get("theme"));
  document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    kept.set("theme", theme);
    setTheme(theme);
    showDetails();
    redrawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { setTheme(kept.get("theme")); showDetails(); redrawAll(); });
  addEventListener("keydown", keys);
  const top = document.getElementById("top");
  new ResizeObserver(() => document.documentElement.style.setProperty("--head", `${top.offsetHeight}px`)).observe(top);
  const packed = document.getElementById("data").textContent.trim();
  const isServed = !packed;
  try {
    if (!("DecompressionStream" in window)) throw new Error("this browser is too old: it cannot unpack the data (DecompressionStream)");
    all.data = isServed ? await ask() : await decoded(bytesOf(packed));
  } catch (error) {
    document.getElementById("loading").textContent = `The data could not be unpacked: ${error.message}`;
    return;
  }
  document.getElementById("data").remove();
  document.getElementById("loading").remove();
  const nav = document.getElementById("nav");
  for (const each of sections) { main.append(each.node); nav.append(each.link); }
  makeControls();
  showAll();
  watchSections();
  requestAnimationFrame(() => setTimeout(() => loadLibrary().catch((error) => {
    console.error(error);
    overview.body.prepend(el("p", { class: "note warn" }, `The curves cannot be drawn: ${error.message}`));
  }), 0));
  if (isServed) follow();
}

begin();
