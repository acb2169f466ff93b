// Accuracy and chamfer distance against a weight, and accuracy against the strength of corruptions.
const SLOTS = 6, MARKS = ["circle", "square", "triangle-up", "triangle-down", "diamond", "cross"];

function errorBars(points, color) {
  const reach = end => points.map(point => point && point[end] !== null ? Math.abs(point[end] - point.mean) : 0);
  return { type: "data", symmetric: false, array: reach("high"), arrayminus: reach("low"), color, thickness: 1.2, width: 0 };
}

function makeTradeoff({ places, labels, rows, plots }, reference) {
  const zero = labels[0] === "0" && labels.length > 1;
  const drawn = plots.map(each => ({ ...each, plot: frame(element("weights"), each.title, each.unit) }));
  const paint = () => drawn.forEach(({ points, plot }, number) => {
    const color = ink(`--model-${number}`), y = points.map(point => point && point.mean);
    const line = { mode: "lines", hoverinfo: "skip", line: { color, width: 1.5 } };
    const traces = [
      { ...line, x: places.slice(zero ? 1 : 0), y: y.slice(zero ? 1 : 0) },
      ...(zero ? [{ ...line, x: places.slice(0, 2), y: y.slice(0, 2), line: { color, width: 1.5, dash: "dot" } }] : []),
      {
        x: places, y, mode: "markers", marker: { color, opacity: 1, size: rows.map(row => row === reference ? 13 : 8) }, error_y: errorBars(points, color), hovertemplate: "%{text}<extra></extra>",
        text: points.map((point, place) => point ? `${plain(rows[place])}<br>weight ${labels[place]}: ${plain(point.text)}` : ""),
      },
    ];
    Plotly.react(plot, traces, layout({
      margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "closest", yaxis: { nticks: 6 },
      xaxis: { title: { text: "weight", standoff: 4 }, tickvals: places, ticktext: labels },
    }), options);
  });
  paint();
  return { paint };
}

function makeRobustness(data) {
  const families = data.families.map((title, family) => ({ family, plot: frame(element("families"), title, "%") }));
  const slots = Array.from({ length: SLOTS }, (_, slot) => data.selected[slot] ?? null);
  const able = row => data.rows[row].curves.some(curve => curve.length);

  function paint() {
    const shown = slots.flatMap((row, slot) => row === null ? [] : [{ row, slot }]);
    const ends = shown.flatMap(({ row }) => data.rows[row].curves.flat()).flatMap(point => point ? [point.low ?? point.mean, point.high ?? point.mean] : []);
    const low = Math.max(0, Math.min(...ends) - 2), high = Math.min(100.5, Math.max(...ends) + 2);
    families.forEach(({ family, plot }) => Plotly.react(plot, shown.map(each => robustTrace(data, family, each)), layout({
      margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "closest", yaxis: { nticks: 5, ...(ends.length ? { range: [low, high] } : {}) },
      xaxis: { title: { text: "strength", standoff: 4 }, tickvals: data.strengths, range: padded(data.strengths) },
    }), options));
  }

  function choose() {
    const chosen = slots.map((row, slot) => row === null ? null : rowChip(data.rows[row], slot, () => { slots[slot] = null; choose(); }));
    element("selected").replaceChildren(...chosen.filter(Boolean));
    offer(data.rows.map((_, row) => row).filter(row => able(row) && !slots.includes(row)));
    paint();
  }

  function offer(rows) {
    const full = !slots.includes(null), groups = new Map();
    for (const row of rows) {
      const { group, name } = data.rows[row];
      if (!groups.has(group)) groups.set(group, make("optgroup", { label: group }));
      groups.get(group).append(new Option(name, row));
    }
    const first = new Option(full ? "Take a row away to add another" : "Add a row …", "");
    element("more").replaceChildren(first, ...groups.values());
    element("more").disabled = full || rows.length === 0;
  }

  element("more").onchange = event => { slots[slots.indexOf(null)] = Number(event.target.value); choose(); };
  choose();
  return { paint };
}

const padded = strengths => [strengths[0] - 0.4, strengths[strengths.length - 1] + 0.4];

// Curves are moved a little to the side, so that their intervals do not hide each other.
function robustTrace(data, family, { row, slot }) {
  const { name, control, curves } = data.rows[row], points = curves[family], color = ink(`--model-${slot}`);
  return {
    x: data.strengths.map(strength => strength + 0.06 * (slot - 2.5)), y: points.map(point => point && point.mean), error_y: errorBars(points, color),
    mode: "lines+markers", line: { color, width: 1.8, dash: control ? "dot" : "solid" }, marker: { color, size: 6, symbol: MARKS[slot] }, hovertemplate: "%{text}<extra></extra>",
    text: points.map((point, place) => point ? `${plain(name)}<br>strength ${data.strengths[place]}: ${plain(point.text)}` : ""),
  };
}

function rowChip(row, slot, onclick) {
  const button = make("button", { type: "button", onclick, title: "Take away" });
  button.append(stroke(`var(--model-${slot})`, row.control ? "1.5 3" : ""), row.name, make("span", { textContent: "×" }));
  return button;
}
