// The smaller pictures: where pairs lie, the trade-off of the rates, and the classes as points.

const BINS = 100;
const histogramPicture = new Picture("histogram", 270, { left: 12, right: 12, top: 24, bottom: 44 });
const detPicture = new Picture("det", 270, { left: 56, right: 12, top: 24, bottom: 44 });
const scatterPicture = new Picture("scatter", 270, { left: 56, right: 14, top: 24, bottom: 44 });

// Shares of the pairs in even bins along a scale. Between thresholds pairs are taken to lie evenly.
function binned(scale, accepted) {
  const [low, high] = data.views.whole.map((place) => scale.values[place]);
  const way = high > low ? 1 : -1;
  const shares = [];
  let place = 0;
  let before = 0;
  for (let bin = 0; bin <= BINS; bin++) {
    const edge = low + ((high - low) * bin) / BINS;
    while (place < grid - 1 && way * scale.values[place] < way * edge) place++;
    const [a, b] = [scale.values[Math.max(place - 1, 0)], scale.values[place]];
    const part = b === a ? 1 : Math.min(Math.max((edge - a) / (b - a), 0), 1);
    const left = accepted[Math.max(place - 1, 0)];
    const below = bin === BINS ? accepted[grid - 1] : left + part * (accepted[place] - left);
    if (bin) shares.push((below - before) / Math.max(accepted[grid - 1], 1));
    before = bin ? below : 0;
  }
  return shares;
}

const bins = data.scales.map((scale) => ({
  genuine: binned(scale, pooled.genuine),
  impostor: binned(scale, pooled.impostor),
}));

// Pairs do not spread along the FAR, so the histogram keeps the threshold's own scale then.
const histogramScale = () => Math.min(state.scale, data.scales.length - 1) % data.scales.length;

function drawHistogram() {
  const which = scales[state.scale].log ? 0 : histogramScale();
  const scale = data.scales[which];
  const top = 1.05 * Math.max(...bins[which].genuine, ...bins[which].impostor);
  const picture = histogramPicture;
  if (!picture.begin(thresholdAxis(scale, "whole"), { ...linearAxis([0, top]), ticks: [] })) return;
  picture.frame(scale.name, "");
  const [low, high] = data.views.whole.map((place) => scale.values[place]);
  const edge = (bin) => low + ((high - low) * bin) / BINS;
  const xs = Array.from({ length: 2 * BINS }, (_, n) => edge(Math.ceil(n / 2)));
  picture.inside(() => {
    for (const [kind, ink] of [
      ["impostor", "far"],
      ["genuine", "frr"],
    ]) {
      const ys = xs.map((_, n) => bins[which][kind][n >> 1]);
      picture.band(
        xs,
        xs.map(() => 0),
        ys,
        color(ink),
        0.25,
      );
      picture.line(xs, ys, color(ink), 1.5);
    }
    picture.vertical(scale.values[data.at[state.i]], color("accent"), 2);
    if (state.upper !== null) picture.vertical(scale.values[data.at[state.upper]], color("accent"), 2, [6, 4]);
  });
}

// The thresholds of the grid that a curve needs: those where it moves.
const detPlaces = Array.from({ length: grid }, (_, place) => place).filter(
  (place) =>
    place === 0 ||
    pooled.impostor[place] !== pooled.impostor[place - 1] ||
    pooled.genuine[place] !== pooled.genuine[place - 1],
);

function drawDet() {
  const picture = detPicture;
  const least = (total) => Math.max(0.5 / total, 1e-7);
  const place = data.at[state.i];
  const ends = (total, most, here) => [least(total), Math.min(1 - least(total), Math.max(most, here))];
  const far = deviateAxis(ends(impostorTotal, 0.6, pooledFar(place)));
  const frr = deviateAxis(ends(genuineTotal, 0.97, pooledFrr(place)));
  if (!picture.begin(far, frr)) return;
  picture.frame("FAR", "FRR");
  picture.inside(() => {
    if (data.base) picture.line(data.base.far, data.base.frr, color("dim"), 1.5, [2, 3]);
    picture.line(detPlaces.map(pooledFar), detPlaces.map(pooledFrr), color("text"), 2);
    if (state.maxFar) picture.vertical(state.maxFar, color("far"), 1, [3, 3]);
    if (state.maxFrr) picture.horizontal(state.maxFrr, color("frr"), [3, 3]);
  });
  const within = (rate, [low, high]) => Math.min(Math.max(rate, low), high);
  picture.dot(within(pooledFar(place), far.ends), within(pooledFrr(place), frr.ends), 6, color("accent"));
}

function scatterAxes() {
  const rates = evaluable.map((k) => classFar(k, state.i)).filter((far) => far > 0);
  const most = Math.max(0.02, state.maxFar || 0, ...rates);
  const least = Math.max(Math.min(1e-3, ...rates, state.maxFar || 1), 1e-7);
  const far = logAxis([10 ** (Math.floor(Math.log10(least)) - 0.4), Math.min(2 * most, 1.2)]);
  far.ticks = [[far.ends[0], "0 %"], ...far.ticks];
  return [far, linearAxis([-0.02, 1.02], rate)];
}

const breaksBound = (far, frr) =>
  (state.maxFar !== null && far > state.maxFar) || (state.maxFrr !== null && frr > state.maxFrr);

let brush = null; // the box that is being drawn, on the canvas
function drawScatter() {
  if (!evaluable.length) return;
  const picture = scatterPicture;
  const [far, frr] = scatterAxes();
  if (!picture.begin(far, frr)) return;
  picture.frame("FAR", "FRR");
  const { draw } = picture;
  const small = evaluable.length > 400;
  const [bad, good] = [color("worst"), color("grey")];
  for (const k of evaluable) {
    const [x, y] = [classFar(k, state.i), classFrr(k, state.i)];
    draw.globalAlpha = hasEnough(k) ? 0.75 : 0.25;
    draw.fillStyle = breaksBound(x, y) ? bad : good;
    draw.beginPath();
    draw.arc(picture.x(x), picture.y(y), small ? 2 : 3.5, 0, 2 * Math.PI);
    draw.fill();
  }
  draw.globalAlpha = 1;
  if (state.maxFar) picture.vertical(state.maxFar, color("far"), 1, [3, 3]);
  if (state.maxFrr !== null) picture.horizontal(state.maxFrr, color("frr"), [3, 3]);
  const ring = (k, ink) => picture.dot(classFar(k, state.i), classFrr(k, state.i), 6, ink);
  state.pins.filter((k) => evaluable.includes(k)).forEach((k) => ring(k, pinColor(state.pins.indexOf(k))));
  if (evaluable.includes(state.hover)) ring(state.hover, color("accent"));
  if (brush) {
    draw.strokeStyle = color("accent");
    draw.strokeRect(brush.x, brush.y, brush.toX - brush.x, brush.toY - brush.y);
  }
}

listeners.push(drawHistogram, drawDet, drawScatter);
