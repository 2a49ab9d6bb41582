// The data of the page. Counts are packed; see packing.py for how.

const data = JSON.parse(document.getElementById("data").textContent);

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Returns a function that reads the next table of counts, row behind row.
function tablesOf(bytes) {
  let place = 0;
  const step = () => {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = bytes[place++];
      value += (byte & 127) * scale;
      if (byte < 128) break;
      scale *= 128;
    }
    return value % 2 ? -(value + 1) / 2 : value / 2;
  };
  return (rows, columns) => {
    const table = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let i = row * columns; i < (row + 1) * columns; i++) table[i] = sum += step();
    }
    return table;
  };
}

const grid = data.scales[0].values.length;
const points = data.at.length;
const classes = data.classes;
const size = classes.name.length;
const [genuineTotal, impostorTotal] = data.totals;

const next = tablesOf(await unpacked(data.counts));
const pooled = { genuine: next(1, grid), impostor: next(1, grid) };
const own = { genuine: next(size, points), impostor: next(size, points) };

// Rates over all pairs, at a threshold of the grid.
const pooledFar = (place) => pooled.impostor[place] / impostorTotal;
const pooledFrr = (place) => (genuineTotal - pooled.genuine[place]) / genuineTotal;

// Rates of a class, at an offered threshold. They are null without pairs of the kind.
function classFar(k, i) {
  return classes.impostor[k] ? own.impostor[k * points + i] / classes.impostor[k] : null;
}
function classFrr(k, i) {
  const all = classes.genuine[k];
  return all ? (all - own.genuine[k * points + i]) / all : null;
}

function utilityOf(far, frr) {
  const [specificity, sensitivity, weight] = [1 - far, 1 - frr, data.beta ** 2];
  const below = weight * specificity + sensitivity;
  return below > 0 ? ((1 + weight) * specificity * sensitivity) / below : 0;
}

const evaluable = Array.from({ length: size }, (_, k) => k).filter(
  (k) => classes.genuine[k] > 0 && classes.impostor[k] > 0,
);
const utilities = new Float32Array(size * points).fill(NaN);
for (const k of evaluable) {
  for (let i = 0; i < points; i++) {
    utilities[k * points + i] = utilityOf(classFar(k, i), classFrr(k, i));
  }
}

// The last threshold of the grid that meets a bound on the FAR, and the first that meets one on
// the FRR; -1 and `grid` where none does.
function lastWithin(maxFar) {
  if (maxFar === null) return grid - 1;
  let place = grid - 1;
  while (place >= 0 && pooledFar(place) > maxFar) place--;
  return place;
}
function firstWithin(maxFrr) {
  if (maxFrr === null) return 0;
  let place = 0;
  while (place < grid && pooledFrr(place) > maxFrr) place++;
  return place;
}

// The offered threshold next to a place of the grid.
function offeredAt(place) {
  let best = 0;
  for (let i = 1; i < points; i++) {
    if (Math.abs(data.at[i] - place) < Math.abs(data.at[best] - place)) best = i;
  }
  return best;
}

// Whether a class has enough pairs to be judged.
const hasEnough = (k) => Math.min(classes.genuine[k], classes.impostor[k]) >= data.fewPairs;

// Rejected genuine pairs of a class, at an offered threshold.
const rejectedOf = (k, i) => classes.genuine[k] - own.genuine[k * points + i];
