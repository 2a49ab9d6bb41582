// The table of classes: ranked anew at each threshold, filtered, and drawn some rows at a time.

const ROWS = 100;
const table = document.getElementById("classes");
const heads = table ? [...table.querySelectorAll("th[data-key]")] : [];
const collator = new Intl.Collator(undefined, { numeric: true });
const lowered = classes.name.map((name) => name.toLowerCase());
let drawn = ROWS;
let ranked = [];

// What a column shows of a class, to sort by.
const valueOf = {
  name: (k) => classes.name[k],
  size: (k) => classes.size[k],
  frr: (k) => classFrr(k, state.i),
  far: (k) => classFar(k, state.i),
  utility: (k) => (Number.isNaN(utilities[k * points + state.i]) ? null : utilities[k * points + state.i]),
  mean: (k) => classes.mean[k],
  part: (k) => classes.part[k],
  recall: (k) => classes.recall?.[k] ?? null,
  best: (k) => classes.best[k],
  change: (k) => classes.change[k],
};
// The way in which a column sorts first: the worst come first.
const FIRST_WAY = { name: 1, utility: 1, mean: 1, recall: 1, best: 1, change: 1 };

const isBetween = (value, [low, high]) =>
  (low === null || (value !== null && value >= low)) && (high === null || (value !== null && value <= high));

function rank() {
  const wanted = state.search.toLowerCase();
  const { key, way } = state.sort;
  const value = valueOf[key ?? "utility"];
  const found = [];
  for (let k = 0; k < size; k++) {
    if (wanted && !lowered[k].includes(wanted)) continue;
    if (!isBetween(classFar(k, state.i), state.far) || !isBetween(classFrr(k, state.i), state.frr)) continue;
    const pin = state.pins.indexOf(k);
    const first = pin < 0 ? state.pins.length : pin;
    found.push({ k, first, value: value(k), few: state.apart && !hasEnough(k) });
  }
  found.sort((a, b) => {
    // Those that were kept come first, in their order, so that they are side by side.
    if (a.first !== b.first) return a.first - b.first;
    // What is unknown comes last whichever way, and so do classes with too few pairs.
    if (a.few !== b.few) return a.few - b.few;
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
    return way * (key === "name" ? collator.compare(a.value, b.value) : a.value - b.value);
  });
  ranked = found.map((one) => one.k);
}

function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const cellOf = {
  name(k) {
    const button = element("button", "pin", isolated(classes.name[k]));
    button.type = "button";
    button.setAttribute("aria-pressed", String(state.pins.includes(k)));
    const cell = element("th", "name", button);
    cell.scope = "row";
    if (!hasEnough(k)) cell.append(" ", element("span", "badge", "too few pairs to judge"));
    return cell;
  },
  size: (k) => element("td", "figure", whole(classes.size[k])),
  frr: (k) => rateCell(classFrr(k, state.i), rejectedOf(k, state.i), classes.genuine[k], state.maxFrr),
  far: (k) =>
    rateCell(classFar(k, state.i), own.impostor[k * points + state.i], classes.impostor[k], state.maxFar),
  utility: (k) => element("td", "figure", number(valueOf.utility(k), 3)),
  curve: (k, along) => element("td", "figure live", sparkline(k, along)),
  mean: (k) => element("td", "figure", number(classes.mean[k], 3)),
  part: (k) => element("td", "figure", number(classes.part[k], 2)),
  recall: (k) => element("td", "figure", rate(classes.recall[k])),
  best: (k) => element("td", "figure", number(classes.best[k]) + (classes.guessed[k] ? " (estimated)" : "")),
  change: (k) => element("td", "figure", (classes.change[k] > 0 ? "+" : "") + number(classes.change[k], 2)),
};

function rateCell(value, errors, pairs, bound) {
  const cell = element("td", "figure" + (bound !== null && value > bound ? " broken" : ""), rate(value));
  if (pairs) cell.append(element("small", "", kOfN(errors, pairs)));
  return cell;
}

const SPARK_WIDTH = 72;
const SPARK_HEIGHT = 20;
const SPARK_POINTS = 36;
// The utility of a class over the view, with a mark at the threshold.
function sparkline(k, { axis, kept }) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`);
  picture.setAttribute("aria-hidden", "true");
  picture.setAttribute("class", "spark");
  if (!Number.isNaN(utilities[k * points])) {
    const x = (i) => SPARK_WIDTH * axis.at(xOf(i));
    const y = (i) => 1 + (SPARK_HEIGHT - 2) * (1 - utilities[k * points + i]);
    const curve = document.createElementNS(space, "polyline");
    curve.setAttribute("points", kept.map((i) => `${x(i).toFixed(1)},${y(i).toFixed(1)}`).join(" "));
    const mark = document.createElementNS(space, "circle");
    mark.setAttribute("cx", x(state.i));
    mark.setAttribute("cy", y(state.i));
    mark.setAttribute("r", 2.2);
    picture.append(curve, mark);
  }
  return picture;
}

function drawTable() {
  if (!table) return;
  rank();
  const shown = inView();
  const step = Math.max(1, Math.floor(shown.length / SPARK_POINTS));
  const along = { axis: thresholdAxis(), kept: shown.filter((_, n) => n % step === 0) };
  const kept = document.activeElement?.closest?.("#classes tbody tr")?.dataset.class;
  const rows = ranked.slice(0, drawn).map((k) => {
    const row = element(
      "tr",
      k === state.hover ? "hover" : "",
      ...heads.map((head) => cellOf[head.dataset.key](k, along)),
    );
    row.dataset.class = k;
    const pin = state.pins.indexOf(k);
    if (pin >= 0) row.style.setProperty("--mark", pinColor(pin));
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
  if (kept !== undefined)
    table.querySelector(`tr[data-class="${kept}"] .pin`)?.focus({ preventScroll: true });
  for (const head of heads) {
    const sorted = head.dataset.key === (state.sort.key ?? "utility");
    if (sorted) head.setAttribute("aria-sort", state.sort.way > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  const more = document.getElementById("more");
  more.hidden = drawn >= ranked.length;
  document.getElementById("count").textContent =
    `${whole(ranked.length)} of ${whole(data.classesInAll)} ${data.many}` +
    (size < data.classesInAll ? ` (the page has the ${whole(size)} worst)` : "") +
    (more.hidden ? "" : `, ${whole(Math.min(drawn, ranked.length))} shown`);
}

// Text that starts like a formula would be one in a spreadsheet.
function csvCell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? "'" + value : value;
  return '"' + safe.replaceAll('"', '""') + '"';
}

function csv() {
  const columns = {
    [data.one]: valueOf.name,
    [data.counted]: valueOf.size,
    threshold: () => scales[0].values[data.at[state.i]],
    genuine_pairs: (k) => classes.genuine[k],
    rejected_genuine: (k) => rejectedOf(k, state.i),
    frr: valueOf.frr,
    impostor_pairs: (k) => classes.impostor[k],
    accepted_impostors: (k) => own.impostor[k * points + state.i],
    far: valueOf.far,
    utility: valueOf.utility,
    mean_utility: valueOf.mean,
    opis_part: valueOf.part,
    best_threshold: valueOf.best,
  };
  const lines = [Object.keys(columns).map(csvCell)];
  for (const k of ranked) lines.push(Object.values(columns).map((value) => csvCell(value(k))));
  return lines.map((line) => line.join(",") + "\r\n").join("");
}

function listenToTable() {
  for (const head of heads) {
    head.querySelector("button")?.addEventListener("click", () => {
      const { key } = head.dataset;
      const again = key === (state.sort.key ?? "utility");
      change({ sort: { key, way: again ? -state.sort.way : (FIRST_WAY[key] ?? -1) } });
    });
  }
  const classOf = (event) => event.target.closest("tr")?.dataset.class;
  const body = table.tBodies[0];
  body.addEventListener("click", (event) => {
    if (event.target.closest(".pin")) togglePin(Number(classOf(event)));
  });
  const point = (event) => classOf(event) && pointAt(Number(classOf(event)));
  body.addEventListener("pointerover", point);
  body.addEventListener("focusin", point);
  body.addEventListener("pointerleave", () => pointAt(null));
  document.getElementById("more").addEventListener("click", () => {
    drawn += 2 * ROWS;
    drawTable();
  });
  document.getElementById("csv").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob(["\ufeff" + csv()], { type: "text/csv" }));
    Object.assign(document.createElement("a"), { href: address, download: `${data.many}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
}

if (table) listenToTable();
listeners.push(drawTable);
