// The controls: the threshold on its scales, the bounds, the filters, and the address of the page.

const byId = (id) => document.getElementById(id);
const show = (id, text) => (byId(id).textContent = text);

function drawNumbers() {
  const place = data.at[state.i];
  const upper = data.at[refuseAt()];
  const [far, frr] = [pooledFar(place), pooledFrr(upper)];
  const impostor = pooled.impostor[place];
  show("ga", whole(pooled.genuine[place]));
  show("gr", whole(genuineTotal - pooled.genuine[upper]));
  show("ia", whole(impostor));
  show("ir", whole(impostorTotal - pooled.impostor[upper]));
  for (const [name, value] of [
    ["far", far],
    ["frr", frr],
  ]) {
    show(name, rate(value));
    byId(name).dataset.value = value;
    const ends = data.intervals[name];
    const i = name === "far" ? state.i : refuseAt();
    const range = ends ? `95 %: ${rate(ends[0][i])} to ${rate(ends[1][i])}` : "";
    show(name + "-ends", range.replaceAll(" %", "\u00a0%"));
  }
  byId("query-box").hidden = data.rows === null;
  if (data.rows !== null) show("query", number((impostor * data.rowsOfPair) / data.rows, 3));
  drawWithin();
  byId("slider").value = state.i;
  const scale = scales[state.scale];
  const text = `${scale.name} ${scale.accepts} ${thresholdText(place)}`;
  byId("slider").setAttribute("aria-valuetext", `${text}, FAR ${rate(far)}, FRR ${rate(frr)}`);
  if (document.activeElement !== byId("value")) byId("value").value = thresholdText(place);
  show("brief", `FAR ${rate(far)} · FRR ${rate(frr)}`);
  drawDoubt();
}

function drawDoubt() {
  const doubts = [];
  if (state.asked !== null)
    doubts.push(
      `The page has no counts at ${state.asked}; ${thresholdText(data.at[state.i])} is the nearest threshold that has.`,
    );
  if (state.upper !== null && evaluable.length)
    doubts.push(`Rates of ${data.many} are at the first threshold, as if it were the only one.`);
  if (data.estimated[state.i])
    doubts.push(`The pooled counts are exact here, but the FARs of ${data.many} are estimates.`);
  byId("doubt").hidden = !doubts.length;
  show("doubt", doubts.join(" "));
}

function drawWithin() {
  const bounded = state.maxFar !== null || state.maxFrr !== null;
  byId("within-box").hidden = !bounded || !evaluable.length;
  if (byId("within-box").hidden) return;
  const met = evaluable.filter((k) => !breaksBound(classFar(k, state.i), classFrr(k, state.i))).length;
  show("within", rate(met / evaluable.length));
  show("within-of", `${kOfN(met, evaluable.length)}${size < data.classesInAll ? " on this page" : ""}`);
}

// Say which thresholds meet the bounds, or what each bound alone costs.
function drawBounds() {
  const { low, high } = admissible();
  const text = (place) => thresholdText(place, scales[scales[state.scale].log ? 0 : state.scale]);
  const said = byId("admissible");
  const reviewed = state.upper !== null && data.at[state.i] <= high && data.at[state.upper] >= low;
  said.className = low <= high || reviewed ? "met" : "unmet";
  if (reviewed && low > high) said.textContent = "No threshold meets both. With review between, both bounds hold.";
  else if (state.maxFar === null && state.maxFrr === null)
    said.textContent = "No bound is set: every threshold is admissible.";
  else if (low <= high) {
    const ends = [low === 0 ? null : text(low), high === grid - 1 ? null : text(high)];
    const rises = scales[scales[state.scale].log ? 0 : state.scale].accepts === "<=";
    const [from, to] = rises ? ends : ends.reverse();
    said.textContent =
      "Admissible: " +
      (from === null ? `up to ${to}.` : to === null ? `from ${from} on.` : `from ${from} to ${to}.`);
  } else {
    const alone = (place, name, bound, cost) =>
      place < 0 || place >= grid
        ? `No threshold meets ${name} <= ${rate(bound)}.`
        : `${name} <= ${rate(bound)} alone needs ${text(place)} and costs ${cost(place)}.`;
    said.textContent = [
      "No threshold meets both.",
      alone(high, "FAR", state.maxFar, (place) => `FRR ${rate(pooledFrr(place))}`),
      alone(low, "FRR", state.maxFrr, (place) => `FAR ${rate(pooledFar(place))}`),
      high >= 0 && low < grid
        ? `The gap is ${digits(Math.abs(Number(text(low)) - Number(text(high))), 3)} wide.`
        : "",
    ].join(" ");
  }
}

function drawChoices() {
  for (const view of ["near", "whole"]) byId(view).setAttribute("aria-pressed", String(state.view === view));
  byId("presets")
    .querySelectorAll("button")
    .forEach((button) => {
      button.setAttribute("aria-pressed", String(Number(button.dataset.i) === state.i));
    });
  byId("pins").replaceChildren(
    ...state.pins.map((k, n) => {
      const button = element("button", "", isolated(classes.name[k]), " ×");
      button.type = "button";
      button.setAttribute("aria-label", `Let go of ${classes.name[k]}`);
      button.addEventListener("click", () => togglePin(k));
      const item = element("li", "", element("span", "line"), button);
      item.style.setProperty("--mark", pinColor(n));
      item.dataset.dash = n;
      return item;
    }),
  );
  for (const name of ["far", "frr"]) {
    ["from", "to"].forEach((end, n) => {
      const box = byId(`${name}-${end}`);
      if (box && document.activeElement !== box)
        box.value = state[name][n] === null ? "" : digits(100 * state[name][n], 3);
    });
  }
  describePictures();
}

function describePictures() {
  const place = data.at[state.i];
  const at = `${scales[0].name} ${thresholdText(place, scales[0])}`;
  const say = (id, text) => byId(id).setAttribute("aria-label", text);
  say(
    "utility",
    `Utility of the ${data.many} along the threshold. At ${at} the mean is ${number(data.utility.mean[state.i], 3)}. The table has each of the ${data.many}.`,
  );
  say(
    "rates",
    `Pooled FAR and FRR along the threshold. At ${at}: FAR ${rate(pooledFar(place))}, FRR ${rate(pooledFrr(place))}.`,
  );
  say(
    "histogram",
    `Distribution of genuine and impostor pairs along ${scales[0].name}, with the threshold ${at}.`,
  );
  say("det", `FRR against FAR. At ${at}: FAR ${rate(pooledFar(place))}, FRR ${rate(pooledFrr(place))}.`);
  say("scatter", `FAR and FRR of each of the ${data.many} at ${at}. The table has the same numbers.`);
}

// The offered threshold next to a value on a scale.
function offeredNear(value, { values }) {
  let best = 0;
  for (let i = 1; i < points; i++) {
    if (Math.abs(values[data.at[i]] - value) < Math.abs(values[data.at[best]] - value)) best = i;
  }
  return best;
}

function moveNear(value, scale) {
  const best = offeredNear(value, scale);
  const isThere = scale.log || scale.values[data.at[best]] === value;
  moveTo(best, isThere ? null : String(value));
}

function listenToThreshold() {
  byId("slider").max = points - 1;
  byId("slider").addEventListener("input", (event) => moveTo(Number(event.target.value)));
  byId("value").addEventListener("change", (event) => {
    const text = event.target.value.replace("%", "");
    const value = scales[state.scale].log ? share(text) : typed(text);
    if (value !== null) moveNear(value, scales[state.scale]);
    event.target.value = thresholdText(data.at[state.i]);
  });
  scales.forEach((scale, n) => byId("scale").append(new Option(`${scale.name} ${scale.accepts}`, n)));
  byId("scale").addEventListener("change", (event) => change({ scale: Number(event.target.value) }));
  for (const [name, place] of data.presets) {
    const button = element("button", "", name);
    button.type = "button";
    button.dataset.i = offeredAt(place);
    button.addEventListener("click", () => moveTo(Number(button.dataset.i)));
    byId("presets").append(button);
  }
  for (const view of ["near", "whole"]) byId(view).addEventListener("click", () => change({ view }));
}

function listenToBounds() {
  const percent = (value) => (value === null ? "" : digits(100 * value, 6));
  for (const [id, name] of [
    ["max-far", "maxFar"],
    ["max-frr", "maxFrr"],
  ]) {
    byId(id).value = percent(state[name]);
    byId(id).addEventListener("input", (event) => {
      const bound = share(event.target.value);
      change({ [name]: bound !== null && bound >= 0 && bound <= 1 ? bound : null });
    });
  }
}

function listenToFilters() {
  if (!table) return;
  byId("search").addEventListener("input", (event) => change({ search: event.target.value.trim() }));
  byId("apart").addEventListener("change", (event) => change({ apart: event.target.checked }));
  byId("apart").checked = state.apart;
  for (const name of ["far", "frr"]) {
    const boxes = ["from", "to"].map((end) => byId(`${name}-${end}`));
    boxes.forEach((box) =>
      box.addEventListener("input", () => change({ [name]: boxes.map((one) => share(one.value)) })),
    );
  }
  byId("clear").addEventListener("click", () => {
    byId("search").value = "";
    change({ search: "", far: [null, null], frr: [null, null] });
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Some browsers refuse a file. The old way needs a field with the text.
    const field = element("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  show("copied", "Copied");
  setTimeout(() => show("copied", ""), 2000);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button.dataset.copy));
}

// The address names the thresholds and the last class that was kept: #class=...&t=...&u=...
let writing = null;
function writeAddress() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const named = new URLSearchParams();
    if (state.pins.length) named.set("class", classes.name[state.pins.at(-1)]);
    if (state.upper !== null) named.set("u", thresholdText(data.at[state.upper], scales[0]));
    if (data.at[state.i] !== data.start) named.set("t", thresholdText(data.at[state.i], scales[0]));
    try {
      history.replaceState(null, "", "#" + named);
    } catch {
      // The page works without an address of its own.
    }
  }, 300);
}

function readAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  const t = typed(named.get("t") ?? "");
  if (t !== null) moveNear(t, scales[0]);
  const u = typed(named.get("u") ?? "");
  if (u !== null) moveUpper(offeredNear(u, scales[0]));
  const k = classes.name.indexOf(named.get("class"));
  if (k < 0) return;
  if (!state.pins.includes(k)) togglePin(k);
  byId("utility").scrollIntoView({ block: "center" });
}

listenToThreshold();
listenToBounds();
listenToFilters();
listeners.push(drawNumbers, drawBounds, drawChoices, writeAddress);
