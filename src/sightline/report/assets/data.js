// From the packed data to runs and arrays.

async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** What the page shows: `runs`, and `array` that finds what the runs refer to. */
async function decoded(bytes) {
  const buffer = await unpacked(bytes);
  const length = new DataView(buffer).getUint32(0, true);
  const meta = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const base = 4 + length;
  const known = new Map();
  meta.array = (ref) => {
    if (!ref) return [];
    const name = ref.join();
    let found = known.get(name);
    if (!found) {
      const [kind, offset, count] = ref;
      if (kind === "f4") found = new Float32Array(buffer, base + offset, count);
      else if (kind === "f8") found = new Float64Array(buffer, base + offset, count);
      else {
        const steps = new Int32Array(buffer, base + offset, count);
        found = new Float64Array(count);
        for (let i = 0, at = 0; i < count; i++) found[i] = at += steps[i];
      }
      known.set(name, found);
    }
    return found;
  };
  for (const [index, run] of meta.runs.entries()) {
    run.index = index;
    run.byKey = new Map(run.curves.keys.map((each) => [each.key, each]));
  }
  return meta;
}

/** The first place in an ascending array at or after a value. */
function placeOf(array, value) {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

/** When a step was, in seconds since the epoch, by the run's clock. */
function timeOf(run, step) {
  const steps = all.data.array(run.curves.clock.x), times = all.data.array(run.curves.clock.t);
  if (!steps.length) return NaN;
  const at = placeOf(steps, step);
  if (at >= steps.length) return times[steps.length - 1];
  if (steps[at] === step || at === 0) return times[at];
  const part = (step - steps[at - 1]) / (steps[at] - steps[at - 1]);
  return times[at - 1] + part * (times[at] - times[at - 1]);
}

/** All that the page knows, and what the reader has chosen. */
const all = {
  data: null,
  hidden: new Set(), // names of runs that are not drawn
  detail: 0, // the run that sections show which are about one
  axis: "step",
  zoom: null,
  smoothing: 0.6,
  logY: false,
  clip: false,
  get runs() { return this.data.runs; },
  get shown() { return this.runs.filter((run) => !this.hidden.has(run.name)); },
  get run() { return this.runs[Math.min(this.detail, this.runs.length - 1)]; },
};
