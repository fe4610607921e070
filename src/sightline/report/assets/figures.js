// Drawings: made when they come into view, let go when they leave it.

let plotly = null;
const waiting = new Set();
const figures = new Map(); // by element
let pumping = false;

/** Loads the plotting library once the page is there. */
async function loadLibrary() {
  const text = new TextDecoder().decode(await unpacked(bytesOf(document.getElementById("library").textContent)));
  document.getElementById("library").remove();
  const script = document.createElement("script");
  script.textContent = text;
  document.head.append(script);
  plotly = window.Plotly;
  pump();
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const figure = figures.get(entry.target);
    if (!figure) continue;
    figure.near = entry.isIntersecting;
    if (figure.near) want(figure); else figure.release();
  }
}, { rootMargin: "240px 0px" });

function want(figure) {
  figure.dirty = true;
  if (!figure.near) return;
  waiting.add(figure);
  pump();
}

function pump() {
  if (pumping || !plotly) return;
  pumping = true;
  const turn = () => {
    const until = performance.now() + 14;
    for (const figure of [...waiting].sort((a, b) => a.order() - b.order())) {
      waiting.delete(figure);
      figure.paint();
      if (performance.now() > until) break;
    }
    if (waiting.size) requestAnimationFrame(turn); else pumping = false;
  };
  requestAnimationFrame(turn);
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const runColour = (run) => colour(`--run${run.index % 8}`);
const faded = (name, share) => {
  const hex = name.startsWith("--") ? colour(name) : name;
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
};

/**
 * A drawing in an element.
 * @param host the element
 * @param draw gives `traces`, `layout` and `label`, what the drawing shows in words
 * @param options `height`; `zooms`: whether its x axis is the one that all share
 */
function figure(host, draw, { height = 190, zooms = false } = {}) {
  const plot = el("div", { class: "plot", role: "img", tabindex: "-1" });
  plot.style.height = `${height}px`;
  host.append(plot);
  const made = {
    near: false, dirty: true, drawn: false, plot, zooms,
    order: () => Math.abs(plot.getBoundingClientRect().top - innerHeight / 3),
    paint() {
      if (!plot.isConnected || !plot.clientWidth) return;
      const { traces, layout, label: words } = draw(Math.max(80, plot.clientWidth - 60));
      plot.setAttribute("aria-label", visible(words || ""));
      const whole = deepened(base(plot.clientWidth, height), layout || {});
      if (whole.xaxis.type === "date") { // two rows of labels, as wide as 13:22:44.955
        whole.margin.b = 36;
        whole.xaxis.nticks = Math.max(2, Math.min(8, Math.floor((plot.clientWidth - whole.margin.l) / 80)));
      }
      try {
        plotly.react(plot, traces, whole, { displayModeBar: false, responsive: false, doubleClick: false, showTips: false });
      } catch (error) {
        console.error(error);
        return;
      }
      made.dirty = false;
      if (!made.drawn) {
        made.drawn = true;
        plot.on("plotly_relayout", (change) => {
          const low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
          if (zooms && low !== undefined) zoomTo([low, high]);
        });
        plot.on("plotly_doubleclick", () => { if (zooms) zoomTo(null); });
      }
    },
    redraw() { want(made); },
    release() {
      waiting.delete(made);
      if (made.drawn) { plotly.purge(plot); plot.replaceChildren(); made.drawn = false; made.dirty = true; }
    },
    remove() { made.release(); watcher.unobserve(plot); figures.delete(plot); plot.remove(); },
  };
  figures.set(plot, made);
  watcher.observe(plot);
  return made;
}

/** Lets go of all drawings in an element, and empties it. */
function emptied(host) {
  for (const plot of host.querySelectorAll(".plot")) figures.get(plot)?.remove();
  host.replaceChildren();
  return host;
}

function redrawAll(which = () => true) {
  for (const each of figures.values()) if (which(each)) want(each);
}

function deepened(into, from) {
  for (const [key, value] of Object.entries(from)) {
    into[key] = value && typeof value === "object" && !Array.isArray(value) ? deepened({ ...into[key] }, value) : value;
  }
  return into;
}

function base(width, height) {
  const ink = colour("--faint"), line = colour("--line");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, tickfont: { size: 10.5, color: ink },
    automargin: true, ticks: "", title: { font: { size: 11, color: ink } }, exponentformat: "SI", minexponent: 5, separatethousands: true };
  return {
    height, margin: { l: 46, r: 10, t: 6, b: 22 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', sans-serif", size: 11, color: colour("--text") },
    showlegend: false, hovermode: "x", dragmode: "zoom", hoverdistance: 30, spikedistance: -1,
    xaxis: { ...axis, nticks: Math.max(3, Math.min(8, Math.floor(width / 60))), tickangle: 0, showgrid: false, zeroline: false, showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: ink, spikesnap: "cursor" },
    yaxis: { ...axis, nticks: 6, fixedrange: true, zeroline: false },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--edge"), font: { size: 11, color: colour("--text") }, align: "left" },
  };
}

/** The axis that all share: the same place in all drawings. */
function zoomTo(range) {
  if (range) {
    range = range.map((each) => (all.axis === "time" && typeof each === "string" ? shownMoment(each) : Number(each)));
    if (range[0] > range[1]) range.reverse();
    if (!range.every(Number.isFinite)) range = null;
  }
  if (String(range) === String(all.zoom)) return;
  all.zoom = range;
  document.body.classList.toggle("zoomed", Boolean(range));
  redrawAll((each) => each.zooms);
  document.dispatchEvent(new Event("zoomed"));
}

// A drawing has no time zones: moments are shifted to the reader's own.
const shiftOf = (milliseconds) => new Date(milliseconds).getTimezoneOffset() * 60000;
const shownMoment = (text) => Date.parse(text.replace(" ", "T") + (text.length > 10 ? "Z" : ""));

/** What the shared axis shows for steps of a run. */
function onAxis(run, steps, times) {
  if (all.axis === "step") return steps;
  const out = new Float64Array(steps.length);
  const unit = relativeUnit()[0];
  for (let i = 0; i < steps.length; i++) {
    const time = times ? times[i] : timeOf(run, steps[i]);
    out[i] = all.axis === "time" ? time * 1000 - shiftOf(time * 1000) : (time - run.curves.start) / unit;
  }
  return out;
}

function relativeUnit() {
  const longest = Math.max(...all.runs.map((run) => run.headline.elapsed_s || 0), 1);
  return longest > 2 * 86400 ? [86400, "days"] : longest > 7200 ? [3600, "h"] : longest > 120 ? [60, "min"] : [1, "s"];
}

function axisLayout() {
  const layout = { type: all.axis === "time" ? "date" : "linear" };
  if (all.axis === "relative") layout.ticksuffix = ` ${relativeUnit()[1]}`;
  if (all.axis === "step") layout.tickformat = ",~r";
  if (all.zoom) layout.range = all.axis === "time" ? all.zoom.map((each) => new Date(each).toISOString()) : all.zoom;
  else Object.assign(layout, { autorange: false, range: wholeRange().map((each) => (all.axis === "time" ? new Date(each).toISOString() : each)) });
  return layout;
}

/** From the first step to the last of all runs that are shown, as the shared axis has it, with a little room. */
function wholeRange() {
  let low = Infinity, high = -Infinity;
  for (const run of all.shown.length ? all.shown : all.runs) {
    const clock = all.data.array(run.curves.clock.x), over = run.curves.keys.filter((each) => each.over).map((each) => each.over);
    const ends = [...(clock.length ? onAxis(run, [clock[0], clock[clock.length - 1]]) : []), ...over.flatMap(({ x, t }) => {
      const steps = all.data.array(x), times = all.data.array(t), last = steps.length - 1;
      return last < 0 ? [] : [...onAxis(run, [steps[0], steps[last]], [times[0], times[last]])];
    })].filter(Number.isFinite);
    low = Math.min(low, ...ends);
    high = Math.max(high, ...ends);
  }
  if (!(low <= high)) return all.axis === "time" ? [0, 1000] : [0, 1];
  const room = Math.max(0.02 * (high - low), all.axis === "step" ? 0.5 : all.axis === "time" ? 500 : 1e-3);
  return [low - room, high + room];
}

addEventListener("resize", later(200, () => redrawAll()));
addEventListener("beforeprint", () => {
  if (!plotly) return;
  let room = 80;
  for (const each of figures.values()) if (!each.drawn && room-- > 0) each.paint();
});
