// Training curves and maps of the codes, drawn by plotly as SVG.
const PALETTE = ["#4c7fd6", "#e58a2b", "#2fa37c", "#c9539a", "#8a68d0", "#b08d2e", "#3aa6bd", "#d35b4f", "#7c8a99", "#7aa53a"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "hourglass"];
const OUTLINES = ["M5 .5a4.5 4.5 0 1 0 .01 0z", "M1 1h8v8H1z", "M5 0l5 5-5 5-5-5z", "M5 .5l5 9H0z", "M3.5 0h3v3.5H10v3H6.5V10h-3V6.5H0v-3h3.5z", "M0 .5h10L5 9.5z", "M1 .5h8L6 5l3 4.5H1L4 5z"];
const DASHES = { train: "dot", validation: "solid" };
const touch = matchMedia("(pointer: coarse)").matches, still = matchMedia("(prefers-reduced-motion: reduce)").matches;

// Plotly reads some HTML in labels: what a user wrote is shown as it was written.
const plain = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(extra) {
  const axis = { gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), automargin: true };
  const hoverlabel = { bgcolor: ink("--paper"), bordercolor: ink("--line"), font: { color: ink("--ink") } };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hoverlabel, dragmode: touch ? false : "zoom",
    font: { color: ink("--quiet"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}

function frame(parent, title, detail) {
  const cell = make("div"), heading = make("h3", { textContent: title + " " }), plot = make("div", { className: "plot" });
  heading.append(make("small", { textContent: detail }));
  cell.append(heading, plot);
  parent.append(cell);
  return plot;
}

const options = { displayModeBar: false, responsive: true };

function makeCurves(curves, models) {
  const splits = [...new Set(curves.flatMap(curve => curve.lines.map(line => line.split)))];
  const epochs = Math.max(...curves.flatMap(curve => curve.lines.flatMap(line => line.epochs)));
  models.forEach((model, place) => key(model.name, `var(--model-${place % COLOURS})`, ""));
  if (splits.length > 1) splits.forEach(split => key(split, "currentColor", DASHES[split] === "dot" ? "1.5 3" : ""));
  const plots = curves.map(curve => {
    const values = curve.lines.flatMap(line => line.values).filter(value => value !== null);
    const log = values.length > 0 && Math.min(...values) > 0 && Math.max(...values) > 30 * Math.min(...values);
    return { curve, log, plot: frame(element("plots"), curve.title, [curve.unit, log ? "log scale" : ""].filter(Boolean).join(", ")) };
  });
  const paint = () => plots.forEach(({ curve, log, plot }) => Plotly.react(plot, curve.lines.map(line => ({
    x: line.epochs, y: line.values, mode: line.epochs.length > 1 ? "lines" : "markers",
    line: { color: ink(`--model-${line.model % COLOURS}`), width: 2, dash: DASHES[line.split] || "solid" },
    marker: { size: 9, symbol: DASHES[line.split] === "dot" ? "circle-open" : "circle" },
    name: plain([models[line.model].name, line.split].filter(Boolean).join(", ")), hovertemplate: "%{y:.4~g}",
  })), layout({
    margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "x unified",
    xaxis: { title: { text: "epoch", standoff: 4 }, ...(epochs < 6 ? { dtick: 1 } : {}) }, yaxis: { type: log ? "log" : "linear", nticks: 6, ...(log ? { dtick: 1 } : {}) },
  }), options));
  paint();
  return { paint };
}

function key(name, colour, dash) {
  const label = make("span");
  label.append(stroke(colour, dash), name);
  element("lines").append(label);
}

// A short piece of a curve, as it stands in a legend.
function stroke(colour, dash) {
  const picture = svg("svg", { viewBox: "0 0 16 6", class: "key" });
  picture.append(svg("line", { x1: 0, x2: 16, y1: 3, y2: 3, style: `stroke: ${colour}`, "stroke-width": 2.5, "stroke-dasharray": dash }));
  return picture;
}

function makeMaps(models, gallery) {
  const drawn = models.filter(model => model.codes).map(model => ({ name: model.name, codes: heldLast(model.codes, gallery) }));
  const names = [...new Set(drawn.flatMap(model => model.codes.classes))].sort(), shown = new Set(names);
  const style = name => { const place = Math.max(0, names.indexOf(name)); return { colour: PALETTE[place % 10], symbol: Math.floor(place / 10) % SYMBOLS.length }; };
  const maps = drawn.map(model => ({ model, plot: frame(element("maps"), model.name, "") }));
  let current = null;

  const paint = () => maps.forEach(({ model, plot }) => Plotly.react(plot, points(model.codes, style, shown, gallery), layout({
    shapes: ring(model.codes, current), margin: { l: 12, r: 12, t: 12, b: 12 }, hovermode: "closest", uirevision: "kept",
    xaxis: { visible: false }, yaxis: { visible: false, scaleanchor: "x" },
  }), options));

  names.forEach(name => element("classes").append(chip(name, style(name), () => {
    const only = shown.size === 1 && shown.has(name), fresh = shown.size === names.length ? [name] : only ? names : null;
    if (fresh) { shown.clear(); fresh.forEach(each => shown.add(each)); } else shown.has(name) ? shown.delete(name) : shown.add(name);
    [...element("classes").children].forEach((each, place) => each.setAttribute("aria-pressed", shown.has(names[place])));
    paint();
  })));
  if (!gallery) element("hint").textContent = "Drag to zoom in, double-click to see all.";
  paint();
  maps.forEach(({ plot }) => connect(plot, gallery));
  const mark = id => { current = id; maps.forEach(({ model, plot }) => Plotly.relayout(plot, { shapes: ring(model.codes, id) })); };
  return { paint, mark };
}

// The shapes of the gallery come last, so that they lie on top.
function heldLast(codes, gallery) {
  const held = index => Number(Boolean(gallery && gallery.has(codes.ids[index])));
  const order = codes.ids.map((_, index) => index).sort((a, b) => held(a) - held(b));
  return Object.fromEntries(Object.entries(codes).map(([name, column]) => [name, column.length ? order.map(index => column[index]) : column]));
}

function points(codes, style, shown, gallery) {
  const styles = codes.ids.map((id, index) => style(codes.classes[index]));
  const labels = codes.ids.map((id, index) => plain(id) + (codes.classes[index] ? `<br><b>${plain(codes.classes[index])}</b>` : ""));
  const held = codes.ids.map(id => Boolean(gallery && gallery.has(id)));
  const visible = codes.ids.map((id, index) => !codes.classes.length || shown.has(codes.classes[index]));
  return [{
    type: "scatter", mode: "markers", x: codes.x, y: codes.y, text: labels, customdata: codes.ids, hovertemplate: "%{text}<extra></extra>",
    marker: {
      size: codes.ids.length > 600 ? 6 : 8, color: styles.map(each => each.colour), symbol: styles.map(each => SYMBOLS[each.symbol]),
      opacity: visible.map(each => each ? 0.85 : 0.07), line: { color: ink("--ink"), width: held.map(each => each ? 1.2 : 0) },
    },
  }];
}

// Marks the shape that the gallery shows; a drawn shape, because moving it leaves the points alone.
function ring(codes, id) {
  const place = codes.ids.indexOf(id), size = { x0: -9, x1: 9, y0: -9, y1: 9, xsizemode: "pixel", ysizemode: "pixel" };
  return place < 0 ? [] : [{ type: "circle", ...size, xanchor: codes.x[place], yanchor: codes.y[place], line: { color: ink("--ink"), width: 2.5 } }];
}

function chip(name, { colour, symbol }, onclick) {
  const button = make("button", { type: "button", onclick }), picture = svg("svg", { viewBox: "0 0 10 10" });
  button.setAttribute("aria-pressed", true);
  picture.append(svg("path", { d: OUTLINES[symbol], fill: colour }));
  button.append(picture, name);
  return button;
}

// Hovering over a point shows its shape beside it, a click opens it in the gallery.
function connect(plot, gallery) {
  const preview = element("preview"), idOf = event => event.points[0].customdata;
  plot.on("plotly_hover", event => {
    preview.hidden = !(gallery && gallery.has(idOf(event)));
    if (preview.hidden) return;
    const { clientX, clientY } = event.event, room = document.documentElement.clientWidth - preview.offsetWidth;
    preview.style.left = `${Math.max(4, Math.min(room - 4, clientX - preview.offsetWidth - 14))}px`;
    preview.style.top = `${Math.max(4, clientY - preview.offsetHeight - 14)}px`;
    gallery.peek(idOf(event), preview.firstElementChild);
  });
  plot.on("plotly_unhover", () => { preview.hidden = true; });
  plot.on("plotly_click", event => {
    if (!gallery || !gallery.has(idOf(event))) return;
    preview.hidden = true;
    gallery.open(idOf(event));
    element("gallery").scrollIntoView({ behavior: still ? "auto" : "smooth" });
  });
}
