"use strict";
// The table of classes: sorted and searched in memory, drawn a few hundred rows at a time.
(() => {
  const rows = JSON.parse(document.getElementById("data").textContent);
  const heads = [...document.querySelectorAll("#classes th")];
  const kinds = heads.map((head) => head.dataset.kind);
  const body = document.querySelector("#classes tbody");
  const more = document.getElementById("more");
  const count = document.getElementById("count");
  const filter = document.getElementById("filter");
  const names = new Intl.Collator(undefined, { numeric: true });
  const lower = new Map(rows.map((row) => [row, row[0].toLowerCase()]));
  const step = 200;
  let shown = rows;
  let drawn = 0;
  // The worst first.
  let column = kinds.length > 4 ? 4 : 0;
  let direction = 1;

  const digits = (value, most) => String(Number(value.toPrecision(most)));
  const formats = {
    name: (value) => value,
    count: (value) => value.toLocaleString("en"),
    rate: (value) => digits(100 * value, 3) + " %",
    number: (value) => digits(value, 4),
    change: (value) => (value > 0 ? "+" : "") + digits(value, 2),
  };

  function compare(a, b) {
    const [x, y] = [a[column], b[column]];
    // What is undefined comes last, whatever the direction.
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (kinds[column] === "name" ? names.compare(x, y) : x - y);
  }

  function draw(from) {
    const part = document.createDocumentFragment();
    for (const row of shown.slice(from, from + step)) {
      const line = part.appendChild(document.createElement("tr"));
      row.forEach((value, i) => {
        const cell = line.appendChild(document.createElement("td"));
        cell.className = kinds[i] === "name" ? "name" : "figure";
        cell.textContent = value === null ? "–" : formats[kinds[i]](value);
      });
    }
    if (from === 0) body.replaceChildren();
    body.appendChild(part);
    drawn = Math.min(from + step, shown.length);
    more.hidden = drawn === shown.length;
    more.textContent = "Show more";
    count.textContent =
      `${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} ${count.dataset.many}` +
      (more.hidden ? "" : `, ${drawn.toLocaleString("en")} shown`);
  }

  function update() {
    const wanted = filter.value.trim().toLowerCase();
    shown = (wanted ? rows.filter((row) => lower.get(row).includes(wanted)) : rows.slice()).sort(compare);
    heads.forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    draw(0);
  }

  heads.forEach((head, i) => {
    head.querySelector("button").addEventListener("click", () => {
      direction = i === column ? -direction : 1;
      column = i;
      update();
    });
  });
  filter.addEventListener("input", update);
  more.addEventListener("click", () => draw(drawn));
  update();
})();
