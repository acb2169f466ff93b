// Reads the page's data, and makes the table and each section that has something to show.
const data = JSON.parse(element("data").textContent), tell = telling();
section("comparison", true, () => makeSorting(data, tell));
section("differences", data.rows.some(row => row.differences.some(Boolean)), () => makeForest(data, tell));
const tradeoff = section("tradeoff", data.sweep, () => makeTradeoff(data.sweep, data.reference));
const robustness = section("robustness", data.families.length, () => makeRobustness(data));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const part of [tradeoff, robustness]) if (part) part.paint();
});
document.documentElement.dataset.ready = "true";
