// Numbers as text, as opis writes them everywhere.

const thousands = new Intl.NumberFormat("en");
const whole = (value) => thousands.format(Math.round(value));

function digits(value, most) {
  // Between two numbers, Python takes the even one, and `toPrecision` the larger one.
  const [mantissa, power] = value.toExponential(most + 20).split("e");
  const [kept, rest] = [mantissa.slice(0, -21), mantissa.slice(-21)];
  const isEven = Number(kept.at(-1) === "." ? kept.at(-2) : kept.at(-1)) % 2 === 0;
  const rounded = Number(isEven && Number(rest) === 5e20 ? kept + "e" + power : value.toPrecision(most));
  return rounded !== 0 && Math.abs(rounded) < 1e-4 ? exponential(rounded) : String(rounded);
}

const exponential = (value, places) => value.toExponential(places).replace(/-(\d)$/, "-0$1");

const number = (value, most = 4) => (value === null || Number.isNaN(value) ? "–" : digits(value, most));

function rate(value) {
  if (value === null || Number.isNaN(value)) return "–";
  const percent = 100 * value;
  if (percent === 0 || percent >= 100) return percent.toFixed(0) + " %";
  return (percent >= 1e-4 ? digits(percent, 3) : exponential(percent, 1)) + " %";
}

// A typed number, or null for none. A comma may stand for the decimal point.
function typed(text) {
  const value = Number(text.trim().replace(",", "."));
  return text.trim() === "" || !Number.isFinite(value) ? null : value;
}

// A typed percentage as a share.
const share = (text) => (typed(text) === null ? null : typed(text) / 100);

const kOfN = (k, n) => `${whole(k)} of ${whole(n)}`;

// A name from the data: text alone, and its direction its own.
function isolated(name) {
  return Object.assign(document.createElement("bdi"), { textContent: name });
}
