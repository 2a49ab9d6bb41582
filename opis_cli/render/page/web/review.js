// The second handle: accept up to the first threshold, refuse beyond the second, review between.

// Begin with what each bound alone needs; if one threshold meets both, the two begin there.
function splitThreshold() {
  const { low, high } = admissible();
  if (low <= high || high < 0 || low >= grid) return change({ upper: state.i });
  moveTo(offeredAt(high));
  return change({ upper: offeredAt(low) });
}

function drawReview() {
  const two = state.upper !== null;
  byId("two").checked = two;
  for (const id of ["second", "review-row", "review-box"]) byId(id).hidden = !two;
  byId("searches-box").hidden = !two || data.answered === null;
  show("slider-label", two ? "Accept" : "Threshold");
  if (!two) return;
  const [place, upper] = [data.at[state.i], data.at[state.upper]];
  const genuine = pooled.genuine[upper] - pooled.genuine[place];
  const impostor = pooled.impostor[upper] - pooled.impostor[place];
  show("gv", whole(genuine));
  show("iv", whole(impostor));
  show("review", rate((genuine + impostor) / (genuineTotal + impostorTotal)));
  if (data.answered !== null)
    show("searches", rate((data.answered[upper] - data.answered[place]) / data.rows));
  byId("upper").value = state.upper;
  const scale = scales[state.scale];
  const beyond = scale.accepts === "<=" ? ">" : "<";
  const text = `${beyond} ${thresholdText(upper)}`;
  byId("upper").setAttribute("aria-valuetext", `${scale.name} ${text}`);
  show("upper-value", text);
}

byId("upper").max = points - 1;
byId("upper").addEventListener("input", (event) => moveUpper(Number(event.target.value)));
byId("two").addEventListener("change", (event) =>
  event.target.checked ? splitThreshold() : change({ upper: null }),
);
listeners.push(drawReview);
