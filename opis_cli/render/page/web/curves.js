// The curves along the threshold: utility of the classes, and the pooled rates below it.

const FEW = 12; // so few classes are all drawn and named
const SOME = 60; // up to so many, every class has a thin line
const WORST_NAMED = 4;
const NAMES_WIDTH = 190; // room for names beside the curves
const NARROW = 620; // below, there is none

const utilityPicture = new Picture("utility", 380, { left: 56, right: 16, top: 14, bottom: 24 });
const ratesPicture = new Picture("rates", 230, { left: 56, right: 16, top: 14, bottom: 44 });

// The offered thresholds in view, with one more on each side.
function inView() {
  const [low, high] = data.views[state.view];
  const found = [];
  for (let i = 0; i < points; i++) if (data.at[i] >= low && data.at[i] <= high) found.push(i);
  if (found[0] > 0) found.unshift(found[0] - 1);
  if (found.at(-1) < points - 1) found.push(found.at(-1) + 1);
  return found;
}

function thresholdAxis(scale = scales[state.scale], view = state.view) {
  const [low, high] = data.views[view];
  if (scale.log) return logAxis([Math.max(scale.values[low], 0.5 / impostorTotal), scale.values[high]]);
  return linearAxis([scale.values[low], scale.values[high]]);
}

const xOf = (i) => scales[state.scale].values[data.at[i]];

// What both pictures along the threshold share: what is admissible, and what is chosen.
function drawMarks(picture) {
  const values = scales[state.scale].values;
  const { low, high } = admissible();
  if (low <= high) picture.shade(values[low], values[high], color("good"), 0.09);
  else if (high >= 0 && low < grid) picture.shade(values[high], values[low], color("bad"), 0.12);
  picture.vertical(xOf(state.i), color("accent"), 2);
  if (state.upper !== null) picture.vertical(xOf(state.upper), color("accent"), 2, [6, 4]);
}

// Beyond some threshold the FARs of classes are estimates.
function veilEstimates(picture) {
  const first = data.estimated.indexOf(1);
  if (first < 1) return;
  const from = xOf(first - 1);
  picture.shade(from, scales[state.scale].values[grid - 1], color("back"), 0.55);
  picture.vertical(from, color("axis"), 1, [2, 3]);
  picture.text("FARs of " + data.many + " estimated →", picture.x(from) + 6, picture.bottom - 10, "left");
}

function drawRange(picture) {
  if (!data.range.length) return;
  const [low, high] = data.range.map((place) => picture.x(scales[state.scale].values[place]));
  const y = picture.bottom + 1;
  picture.stroke(
    [
      [low, y],
      [high, y],
    ],
    color("axis"),
    5,
  );
}

function drawUtility() {
  const wide = utilityPicture.canvas.parentElement.clientWidth >= NARROW;
  const right = wide && evaluable.length ? NAMES_WIDTH : 16;
  const shown = inView();
  if (!utilityPicture.begin(thresholdAxis(), linearAxis([leastUtility(shown), 1]), right)) return;
  const picture = utilityPicture;
  picture.frame("", "");
  const xs = shown.map(xOf);
  const curve = (k) => shown.map((i) => utilities[k * points + i]);
  const few = evaluable.length <= FEW;
  const worst = few ? evaluable : worstFirst(state.i).slice(0, WORST_NAMED);
  picture.inside(() => {
    if (!few) {
      const at = (q) => shown.map((i) => data.utility.quantiles[q][i]);
      picture.band(xs, at(0), at(6), color("grey"), 0.1);
      picture.band(xs, at(1), at(5), color("grey"), 0.16);
      picture.band(xs, at(2), at(4), color("grey"), 0.3);
      if (evaluable.length <= SOME) {
        for (const k of evaluable) picture.line(xs, curve(k), color("thin"), 0.7);
      }
    }
    for (const k of worst) {
      picture.line(xs, curve(k), few ? color("grey") : color("worst"), few ? 1.4 : 1.1);
    }
    if (data.base) drawOverlay(picture, "mean", color("text"));
    picture.line(
      xs,
      shown.map((i) => data.utility.mean[i]),
      color("text"),
      2.2,
    );
    state.pins.forEach((k, n) => picture.line(xs, curve(k), pinColor(n), 2.4, PIN_DASHES[n]));
    if (state.hover !== null) picture.line(xs, curve(state.hover), color("accent"), 2.6);
    veilEstimates(picture);
    drawMarks(picture);
    if (evaluable.includes(state.hover)) {
      picture.dot(xOf(state.i), utilities[state.hover * points + state.i], 4, color("accent"));
    }
  });
  drawRange(picture);
  if (right < NAMES_WIDTH) return;
  const last = shown.findLastIndex((i) => picture.x(xOf(i)) <= picture.right + 1);
  const end = (k, ink) => ({ name: classes.name[k], y: picture.y(curve(k)[last]), ink });
  const named = worst.filter((k) => !state.pins.includes(k));
  picture.names([
    ...named.map((k) => end(k, few ? color("dim") : color("worst"))),
    ...state.pins.filter((k) => evaluable.includes(k)).map((k) => end(k, pinColor(state.pins.indexOf(k)))),
    {
      name: evaluable.length ? "mean" : "pooled",
      y: picture.y(data.utility.mean[shown[last]]),
      ink: color("text"),
    },
  ]);
}

// The axis ends below the lowest curve, so that good models are told apart too.
function leastUtility(shown) {
  const lowest = data.utility.quantiles[0] ?? data.utility.mean;
  return Math.floor(5 * Math.min(...shown.map((i) => lowest[i]))) / 5;
}

function drawOverlay(picture, what, ink) {
  const scale = scales[state.scale];
  const values = scale.log ? data.base.far : data.base.values[state.scale];
  if (values) picture.line(values, data.base[what], ink, 1.5, [2, 3]);
}

function drawRates() {
  const wide = utilityPicture.canvas.parentElement.clientWidth >= NARROW;
  const right = wide && evaluable.length ? NAMES_WIDTH : 16;
  const lowest = Math.min(0.01, ...[state.maxFar, state.maxFrr].filter((bound) => bound > 0));
  const least = Math.max(0.3 / impostorTotal, 1e-2 * lowest, 1e-8);
  if (!ratesPicture.begin(thresholdAxis(), logAxis([least, 1]), right)) return;
  const picture = ratesPicture;
  picture.frame(scales[state.scale].name, "");
  const shown = inView();
  const xs = shown.map(xOf);
  picture.inside(() => {
    for (const [name, rateAt, dash] of [
      ["far", pooledFar, []],
      ["frr", pooledFrr, [8, 3]],
    ]) {
      const ends = data.intervals[name];
      if (ends)
        picture.band(
          xs,
          shown.map((i) => ends[0][i]),
          shown.map((i) => ends[1][i]),
          color(name),
          0.18,
        );
      if (data.base) drawOverlay(picture, name, color(name));
      picture.line(
        xs,
        shown.map((i) => rateAt(data.at[i])),
        color(name),
        2,
        dash,
      );
      const bound = name === "far" ? state.maxFar : state.maxFrr;
      if (bound !== null) picture.horizontal(bound, color(name), [3, 3]);
    }
    drawMarks(picture);
  });
  drawRange(picture);
  if (right < NAMES_WIDTH) return;
  const last = shown.findLastIndex((i) => picture.x(xOf(i)) <= picture.right + 1);
  picture.names([
    { name: "FAR", y: picture.y(pooledFar(data.at[shown[last]])), ink: color("far-text") },
    { name: "FRR", y: picture.y(pooledFrr(data.at[shown[last]])), ink: color("frr-text") },
  ]);
}

listeners.push(drawUtility, drawRates);
