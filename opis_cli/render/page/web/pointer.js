// The pointer on the pictures: name what is under it, keep it, move the threshold, draw a box.

// The offered threshold nearest to a place on the canvas.
function thresholdUnder(picture, x) {
  let best = state.i;
  for (const i of inView()) {
    if (Math.abs(picture.x(xOf(i)) - x) < Math.abs(picture.x(xOf(best)) - x)) best = i;
  }
  return best;
}

// The class whose curve is nearest to a place on the canvas, or null.
function classUnder(x, y) {
  const i = thresholdUnder(utilityPicture, x);
  let [best, least] = [null, 14];
  for (const k of evaluable) {
    const away = Math.abs(utilityPicture.y(utilities[k * points + i]) - y);
    if (away < least) [best, least] = [k, away];
  }
  return best === null ? null : { k: best, i };
}

// Calls `move` with places on the canvas while a pointer is held down on it.
function onDrag(canvas, move, begin = () => true) {
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !begin(event.offsetX, event.offsetY)) return;
    canvas.setPointerCapture(event.pointerId);
    move(event.offsetX, event.offsetY);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) move(event.offsetX, event.offsetY);
  });
}

onDrag(ratesPicture.canvas, (x) => moveTo(thresholdUnder(ratesPicture, x)));
onDrag(
  utilityPicture.canvas,
  (x) => moveTo(thresholdUnder(utilityPicture, x)),
  (x, y) => classUnder(x, y) === null,
);
utilityPicture.canvas.addEventListener("click", (event) => {
  const found = classUnder(event.offsetX, event.offsetY);
  if (found) togglePin(found.k);
});
utilityPicture.canvas.addEventListener("pointermove", (event) => {
  const found = classUnder(event.offsetX, event.offsetY);
  showTip(event, found && found.k, found && found.i);
});
utilityPicture.canvas.addEventListener("pointerleave", (event) => showTip(event, null));

// Show a class in the pictures and in the table, which need not be made anew for it.
function pointAt(k) {
  if (state.hover === k) return;
  state.hover = k;
  drawUtility();
  drawScatter();
  for (const row of table?.tBodies[0].rows ?? [])
    row.classList.toggle("hover", Number(row.dataset.class) === k);
}

// Name the class under the pointer, with its pairs at a threshold.
const tip = document.getElementById("tip");
function showTip(event, k, i) {
  pointAt(k);
  tip.hidden = k === null;
  if (k === null) return;
  const lines = [
    `${whole(classes.size[k])} ${data.counted}, at ${thresholdText(data.at[i])}`,
    `FRR ${rate(classFrr(k, i))}: ${kOfN(rejectedOf(k, i), classes.genuine[k])}`,
    `FAR ${rate(classFar(k, i))}: ${kOfN(own.impostor[k * points + i], classes.impostor[k])}`,
    `utility ${number(utilities[k * points + i], 3)}`,
  ];
  const title = document.createElement("strong");
  title.append(isolated(classes.name[k]));
  tip.replaceChildren(
    title,
    ...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })),
  );
  const wide = document.documentElement.clientWidth;
  tip.style.left = Math.max(Math.min(event.pageX + 14, wide - tip.offsetWidth - 8), 8) + "px";
  tip.style.top = event.pageY + 14 + "px";
}

function classAtPoint(x, y) {
  let [best, least] = [null, 12];
  for (const k of evaluable) {
    const dx = scatterPicture.x(classFar(k, state.i)) - x;
    const dy = scatterPicture.y(classFrr(k, state.i)) - y;
    if (Math.hypot(dx, dy) < least) [best, least] = [k, Math.hypot(dx, dy)];
  }
  return best;
}

// The rates at the edges of the box become the filters of the table; see the controls.
function filterByBox({ x, y, toX, toY }) {
  const picture = scatterPicture;
  const across = [x, toX]
    .sort((a, b) => a - b)
    .map((at) => (at - picture.left) / (picture.right - picture.left));
  const up = [y, toY]
    .sort((a, b) => b - a)
    .map((at) => (picture.bottom - at) / (picture.bottom - picture.top));
  const [low, high] = picture.xAxis.ends.map(Math.log10);
  const far = across.map((at) => 10 ** (low + at * (high - low)));
  const frr = up.map((at) => -0.02 + 1.04 * at);
  const least = picture.xAxis.ticks[1][0] / 2;
  const rounded = (value) => Number(Math.min(value, 1).toPrecision(2));
  change({
    far: [far[0] < least ? null : rounded(far[0]), rounded(far[1])],
    frr: [frr[0] <= 0 ? null : rounded(frr[0]), frr[1] >= 1 ? null : rounded(frr[1])],
  });
}

function listenToScatter() {
  const { canvas } = scatterPicture;
  let start = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0) start = [event.offsetX, event.offsetY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const { offsetX, offsetY } = event;
    if (!start) return showTip(event, classAtPoint(offsetX, offsetY), state.i);
    if (!brush && Math.hypot(offsetX - start[0], offsetY - start[1]) < 5) return undefined;
    brush = { x: start[0], y: start[1], toX: offsetX, toY: offsetY };
    return change({});
  });
  canvas.addEventListener("pointerup", (event) => {
    const k = brush ? null : classAtPoint(event.offsetX, event.offsetY);
    if (brush) filterByBox(brush);
    if (k !== null) togglePin(k);
    [start, brush] = [null, null];
    change({});
  });
  canvas.addEventListener("pointerleave", (event) => showTip(event, null));
}

onDrag(histogramPicture.canvas, (x) => {
  const { values } = data.scales[scales[state.scale].log ? 0 : histogramScale()];
  const away = (i) => Math.abs(histogramPicture.x(values[data.at[i]]) - x);
  let best = 0;
  for (let i = 1; i < points; i++) if (away(i) < away(best)) best = i;
  moveTo(best);
});
onDrag(detPicture.canvas, (x, y) => {
  const away = (i) => {
    const place = data.at[i];
    return Math.hypot(detPicture.x(pooledFar(place)) - x, detPicture.y(pooledFrr(place)) - y);
  };
  let best = 0;
  for (let i = 1; i < points; i++) if (away(i) < away(best)) best = i;
  moveTo(best);
});
listenToScatter();
