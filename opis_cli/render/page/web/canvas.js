// A small drawing kit: a picture with a frame, axes, lines and names, on a canvas.

const STYLES = getComputedStyle(document.documentElement);
const color = (name) => STYLES.getPropertyValue("--" + name).trim();
const PIN_DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4]];
const pinColor = (pin) => color("pin-" + pin);
const FONT = "12px system-ui, sans-serif";

// An axis maps values to 0..1. `ends` may fall, as similarities do.
function linearAxis(ends, text = (value) => digits(value, 6)) {
  const [low, high] = ends;
  const width = high - low || 1;
  const rough = Math.abs(width) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((times) => power * times >= rough);
  const ticks = [];
  const first = Math.ceil(Math.min(low, high) / step - 1e-9);
  for (let n = first; n * step <= Math.max(low, high) + 1e-9 * step; n++) {
    ticks.push([n * step, text(Number((n * step).toPrecision(12)))]);
  }
  return { at: (value) => (value - low) / width, ticks, ends };
}

// Rates on a log scale. What is below the least has the place of the least.
function logAxis(ends) {
  const [low, high] = ends.map(Math.log10);
  const ticks = [];
  for (let power = Math.ceil(low - 1e-9); power <= high + 1e-9; power++)
    ticks.push([10 ** power, digits(10 ** (power + 2), 3) + " %"]);
  const at = (value) => (Math.log10(Math.max(value, ends[0])) - low) / (high - low);
  return { at, ticks, ends };
}

// Rates on the scale of normal deviates, on which a DET curve is nearly straight.
const DEVIATE_TICKS = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99];
function deviateAxis(ends) {
  const [low, high] = ends.map(deviate);
  const at = (value) => (deviate(value) - low) / (high - low);
  const ticks = DEVIATE_TICKS.filter((tick) => tick >= ends[0] && tick <= ends[1]);
  return { at, ticks: ticks.map((tick) => [tick, digits(100 * tick, 3) + " %"]), ends };
}

// Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.23: off by 0.00045 at most.
function deviate(rate) {
  const share = Math.min(Math.max(rate, 1e-9), 1 - 1e-9);
  const t = Math.sqrt(-2 * Math.log(Math.min(share, 1 - share)));
  const above = 2.515517 + t * (0.802853 + t * 0.010328);
  const below = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308));
  return (share < 0.5 ? -1 : 1) * (t - above / below);
}

class Picture {
  constructor(id, height, margin) {
    this.canvas = document.getElementById(id);
    this.fullHeight = height;
    this.wanted = margin;
  }

  // Begin anew, with a size that fits the column; false where the canvas is not shown.
  begin(xAxis, yAxis, marginRight = this.wanted.right) {
    const width = this.canvas.parentElement.clientWidth;
    if (width === 0) return false;
    const height = width < 480 ? Math.min(this.fullHeight, 0.8 * width) : this.fullHeight;
    const sharp = Math.max(window.devicePixelRatio || 1, 1);
    this.canvas.width = Math.round(width * sharp);
    this.canvas.height = Math.round(height * sharp);
    this.canvas.style.height = height + "px";
    this.draw = this.canvas.getContext("2d");
    this.draw.scale(sharp, sharp);
    this.draw.font = FONT;
    const { left, top, bottom } = this.wanted;
    Object.assign(this, { width, left, top, xAxis, yAxis });
    this.right = width - marginRight;
    this.bottom = height - bottom;
    return true;
  }

  x(value) {
    return this.left + this.xAxis.at(value) * (this.right - this.left);
  }

  y(value) {
    return this.bottom - this.yAxis.at(value) * (this.bottom - this.top);
  }

  inside(work) {
    this.draw.save();
    this.draw.beginPath();
    this.draw.rect(this.left, this.top - 1, this.right - this.left, this.bottom - this.top + 2);
    this.draw.clip();
    work();
    this.draw.restore();
  }

  frame(xName, yName) {
    const { draw, left, right, top, bottom } = this;
    draw.lineWidth = 1;
    draw.textBaseline = "middle";
    for (const [value, text] of this.yAxis.ticks) {
      const y = Math.round(this.y(value)) + 0.5;
      this.stroke(
        [
          [left, y],
          [right, y],
        ],
        color("grid"),
      );
      this.text(text, left - 6, y, "right");
    }
    let free = -Infinity;
    for (const [value, text] of [...this.xAxis.ticks].sort((a, b) => this.x(a[0]) - this.x(b[0]))) {
      const x = this.x(value);
      const half = draw.measureText(text).width / 2;
      if (x < left - 1 || x > right + 1 || x - half < free) continue;
      this.stroke(
        [
          [x, bottom],
          [x, bottom + 4],
        ],
        color("axis"),
      );
      this.text(text, x, bottom + 13, "center");
      free = x + half + 8;
    }
    this.stroke(
      [
        [left, bottom + 0.5],
        [right, bottom + 0.5],
      ],
      color("axis"),
    );
    if (xName) this.text(xName, (left + right) / 2, bottom + 31, "center");
    if (yName) this.text(yName, left - 6, top - 14, "right");
  }

  text(text, x, y, align, ink = color("dim")) {
    this.draw.fillStyle = ink;
    this.draw.textAlign = align;
    this.draw.fillText(text, x, y);
  }

  // Draw through points on the canvas.
  stroke(path, ink, width = 1, dash = []) {
    const { draw } = this;
    draw.strokeStyle = ink;
    draw.lineWidth = width;
    draw.setLineDash(dash);
    draw.beginPath();
    path.forEach(([x, y], n) => (n ? draw.lineTo(x, y) : draw.moveTo(x, y)));
    draw.stroke();
    draw.setLineDash([]);
  }

  // A curve through values.
  line(xs, ys, ink, width = 1.5, dash = []) {
    this.stroke(
      xs.map((x, n) => [this.x(x), this.y(ys[n])]),
      ink,
      width,
      dash,
    );
  }

  // The area between two curves.
  band(xs, lows, highs, ink, opacity) {
    const { draw } = this;
    draw.globalAlpha = opacity;
    draw.fillStyle = ink;
    draw.beginPath();
    xs.forEach((x, n) => draw.lineTo(this.x(x), this.y(highs[n])));
    for (let n = xs.length - 1; n >= 0; n--) draw.lineTo(this.x(xs[n]), this.y(lows[n]));
    draw.fill();
    draw.globalAlpha = 1;
  }

  // A part of the x axis, over the whole height.
  shade(from, to, ink, opacity) {
    const [a, b] = [this.x(from), this.x(to)].sort((one, two) => one - two);
    const { draw } = this;
    draw.globalAlpha = opacity;
    draw.fillStyle = ink;
    draw.fillRect(a, this.top, Math.max(b - a, 1), this.bottom - this.top);
    draw.globalAlpha = 1;
  }

  vertical(value, ink, width = 1, dash = []) {
    const x = this.x(value);
    this.stroke(
      [
        [x, this.top],
        [x, this.bottom],
      ],
      ink,
      width,
      dash,
    );
  }

  horizontal(value, ink, dash) {
    const y = this.y(value);
    this.stroke(
      [
        [this.left, y],
        [this.right, y],
      ],
      ink,
      1,
      dash,
    );
  }

  dot(x, y, radius, ink, edge = color("back")) {
    const { draw } = this;
    draw.beginPath();
    draw.arc(this.x(x), this.y(y), radius, 0, 2 * Math.PI);
    draw.fillStyle = ink;
    draw.fill();
    draw.strokeStyle = edge;
    draw.lineWidth = 1.5;
    draw.stroke();
  }

  // Names at the right ends of curves, moved apart, with a thin line to the end of each.
  names(ends) {
    const room = 15;
    ends.sort((a, b) => a.y - b.y);
    ends.forEach((end, n) => (end.place = Math.max(end.y, n ? ends[n - 1].place + room : this.top + 4)));
    for (let n = ends.length - 1, limit = this.bottom; n >= 0; n--, limit -= room) {
      ends[n].place = Math.min(ends[n].place, limit);
    }
    const wide = this.width - this.right - 24;
    for (const { name, y, place, ink } of ends) {
      this.stroke(
        [
          [this.right, y],
          [this.right + 12, place],
        ],
        ink,
        0.8,
      );
      this.text(fitted(this.draw, name, wide), this.right + 16, place, "left", ink);
    }
  }
}

// A name that is at most so wide, in an isolate, so that its direction stays its own.
function fitted(draw, name, wide) {
  if (draw.measureText(name).width <= wide) return "\u2068" + name + "\u2069";
  const letters = [...new Intl.Segmenter().segment(name)].map((part) => part.segment);
  while (letters.length && draw.measureText(letters.join("") + "…").width > wide) letters.pop();
  return "\u2068" + letters.join("") + "…\u2069";
}
