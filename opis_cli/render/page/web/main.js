// Everything is there: show what needs the script, and draw.

function drawAll() {
  for (const listener of listeners) listener();
}

if (evaluable.length > FEW) {
  show("bands", ": mean, and bands of 50 %, 90 % and all of them; red: the worst here");
}
if (!evaluable.length) byId("scatter-box").hidden = true;
document.documentElement.classList.add("ready");
drawAll();
readAddress();
addEventListener("hashchange", readAddress);
addEventListener("resize", () => change({}));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
// Paper is white.
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("paper");
  drawAll();
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("paper");
  drawAll();
});
