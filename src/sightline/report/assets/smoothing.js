// Smoothing, and as many points as there are pixels.

/**
 * The exponential moving average, without the pull towards where it begins: each value counts `weight` as much as
 * the one after it. Where values are means over `size` neighbours, each counts for all of them.
 */
function smoothed(values, weight, size = 1) {
  const out = new Float64Array(values.length);
  const factor = weight ** size;
  let sum = 0, share = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (Number.isFinite(value)) {
      sum = factor * sum + (1 - factor) * value;
      share = factor * share + (1 - factor);
    }
    out[i] = share > 0 ? sum / share : NaN;
  }
  return out;
}

/** The part of a curve in a range, with a point on either side; of what shares a pixel the lowest and the highest. */
function fitting(x, y, range, pixels) {
  let from = 0, to = x.length;
  if (range) {
    from = Math.max(0, placeOf(x, range[0]) - 1);
    to = Math.min(x.length, placeOf(x, range[1]) + 1);
  }
  const count = to - from;
  if (count <= 2 * pixels) return [Array.from(x.slice(from, to)), Array.from(y.slice(from, to))];
  const outX = [], outY = [];
  const size = count / pixels;
  for (let bucket = 0; bucket < pixels; bucket++) {
    const start = from + Math.floor(bucket * size), end = from + Math.floor((bucket + 1) * size);
    let low = -1, high = -1, gap = -1;
    for (let i = start; i < end; i++) {
      if (!Number.isFinite(y[i])) { gap = i; continue; }
      if (low < 0 || y[i] < y[low]) low = i;
      if (high < 0 || y[i] > y[high]) high = i;
    }
    for (const at of [...new Set([low, high, gap])].filter((each) => each >= 0).sort((a, b) => a - b)) {
      outX.push(x[at]);
      outY.push(Number.isFinite(y[at]) ? y[at] : null);
    }
  }
  return [outX, outY];
}
