// What the reader has chosen. `change` sets some of it, and everything is drawn again.

const state = {
  i: offeredAt(data.start), // the offered threshold
  upper: data.review === null ? null : offeredAt(data.review[1]), // refused beyond; null: no review
  asked: null, // the threshold that was asked for, if pairs were not counted there
  scale: 0, // index in `scales`
  view: "near",
  maxFar: data.bounds[0],
  maxFrr: data.bounds[1],
  pins: [], // classes that stay
  hover: null, // the class under the pointer
  apart: true, // classes with too few pairs come last
  search: "",
  far: [null, null], // the table shows classes with a FAR between these
  frr: [null, null],
  sort: { key: null, way: 1 }, // null: the worst first
};
const MOST_PINS = 6;

// The FAR is a scale of thresholds too: on it every model looks alike.
const scales = [
  ...data.scales,
  { name: "FAR", accepts: "<=", values: Array.from({ length: grid }, (_, p) => pooledFar(p)), log: true },
];

const listeners = [];
let waiting = false;
function change(changes) {
  Object.assign(state, changes);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const listener of listeners) listener();
  });
}

const thresholdText = (place, scale = scales[state.scale]) =>
  scale.log ? rate(scale.values[place]) : String(scale.values[place]);

function togglePin(k) {
  const pins = state.pins.filter((pin) => pin !== k);
  if (pins.length === state.pins.length) pins.push(k);
  change({ pins: pins.slice(-MOST_PINS) });
}

// Go to an offered threshold. `asked` is the text of another one that was asked for.
function moveTo(i, asked = null) {
  const [low, high] = data.views.near;
  const inside = data.at[i] >= low && data.at[i] <= high;
  const upper = state.upper === null ? null : Math.max(state.upper, i);
  change({ i, upper, asked, view: inside ? state.view : "whole" });
}

// Move the second threshold. The first is never above it.
const moveUpper = (upper) => change({ upper, i: Math.min(state.i, upper), asked: null });

// The offered threshold beyond which pairs are refused.
const refuseAt = () => state.upper ?? state.i;

// The thresholds that meet both bounds: places of the grid. There is none if low > high.
const admissible = () => ({ low: firstWithin(state.maxFrr), high: lastWithin(state.maxFar) });

// The evaluable classes, the least utility first; those with too few pairs last.
function worstFirst(i) {
  const few = (k) => (hasEnough(k) ? 0 : 1);
  return [...evaluable].sort(
    (a, b) => few(a) - few(b) || utilities[a * points + i] - utilities[b * points + i],
  );
}
