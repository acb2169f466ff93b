// What hovering tells, and the forest plot: a line a row, its paired difference and the interval around it.
function telling() {
  const box = element("detail");
  const hide = () => { box.hidden = true; };
  addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, { passive: true, capture: true });
  document.addEventListener("click", event => { if (!event.target.closest("[data-told]")) hide(); });

  function show(event, heading, lines) {
    box.replaceChildren(make("b", { textContent: heading }), ...lines.map(textContent => make("p", { textContent })));
    box.hidden = false;
    const { clientWidth, clientHeight } = document.documentElement, { offsetWidth, offsetHeight } = box;
    box.style.left = `${Math.max(4, Math.min(clientWidth - offsetWidth - 4, event.clientX + 14))}px`;
    const above = event.clientY - offsetHeight - 12, below = Math.min(event.clientY + 18, clientHeight - offsetHeight - 4);
    box.style.top = `${above < 4 ? below : above}px`;
  }

  // `found` names what is under an event: a heading and lines, or null. A touch tells on a tap.
  return function tell(parent, found) {
    const told = event => { const what = found(event.target); if (what) show(event, ...what); else hide(); };
    parent.dataset.told = "";
    parent.addEventListener("mousemove", told);
    parent.addEventListener("click", told);
    parent.addEventListener("mouseleave", hide);
  };
}

function makeForest(data, tell) {
  const columns = data.columns.map((_, place) => place).filter(place => data.rows.some(row => row.differences[place]));
  columns.forEach(place => element("figure").append(new Option(headed(data.columns[place]), place)));
  const paint = () => drawForest(data, Number(element("figure").value), element("ordered").checked);
  element("figure").onchange = element("ordered").onchange = paint;
  tell(element("forest"), target => {
    const line = target.closest("[data-row]"), column = Number(element("figure").value);
    return line && [data.rows[line.dataset.row].name, data.rows[line.dataset.row].details[column]];
  });
  paint();
}

const headed = column => column.unit ? `${column.title}, ${column.unit}` : column.title;

function drawForest(data, column, ordered) {
  const { better } = data.columns[column], sign = better === "lower" ? -1 : 1;
  const rows = data.rows.map((row, place) => ({ ...row, place, difference: row.differences[column] }));
  const drawn = rows.filter(row => row.difference && row.difference.mean != null);
  const range = forestRange(drawn.map(row => row.difference)), ticks = niceTicks(...range);
  if (ordered) drawn.sort((a, b) => sign * (b.difference.mean - a.difference.mean));
  const lines = [axisLine(range, ticks, better)];
  drawn.forEach((row, place) => {
    if (!ordered && row.group !== (drawn[place - 1] || {}).group) lines.push(groupLine(row.group, range, ticks));
    lines.push(forestLine(row, range, ticks));
  });
  element("forest").replaceChildren(...lines);
  tellCounts(drawn.map(row => row.difference.verdict), rows.length - drawn.length - Number(data.reference !== null), better);
}

function tellCounts(verdicts, missing, better) {
  const count = verdict => verdicts.filter(each => each === verdict).length;
  const told = better ? [["better", "better"], ["worse", "worse"]] : [["differs", "different"]];
  const parts = [...told.map(([verdict, word]) => [count(verdict), word, verdict]), [count(""), "not told apart", "quiet"], [missing, "without a difference", "quiet"]];
  element("counts").replaceChildren(...parts.filter(([number], place) => number || place < told.length).map(([number, word, className]) => {
    const part = make("span", { className });
    part.append(make("b", { textContent: number }), ` ${word}`);
    return part;
  }));
}

// From the lowest to the highest end, zero included; what lies far beyond the others is cut off and marked as such.
function forestRange(differences) {
  const ends = differences.flatMap(({ mean, low, high }) => [low ?? mean, high ?? mean]);
  const sizes = differences.map(({ mean, low, high }) => Math.max(Math.abs(low ?? mean), Math.abs(high ?? mean))).sort((a, b) => a - b);
  const cut = 3 * (sizes[Math.floor(sizes.length / 2)] || Math.max(...sizes, 1));
  const low = Math.max(-cut, Math.min(0, ...ends)), high = Math.min(cut, Math.max(0, ...ends)), margin = 0.04 * (high - low || 1);
  return [low - margin, high + margin];
}

function niceTicks(low, high) {
  const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), ticks = [];
  for (let place = Math.ceil(low / step); place * step <= high; place++) {
    const label = Math.abs(place * step).toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    ticks.push({ value: place * step, label: place === 0 ? "0" : (place > 0 ? "+" : "−") + label });
  }
  return ticks;
}

const at = (value, [low, high]) => 100 * (value - low) / (high - low);

function strip(range, ticks) {
  const bar = make("span", { className: "strip" });
  for (const { value } of ticks) bar.append(placed("line" + (value === 0 ? " zero" : ""), at(value, range)));
  return bar;
}

function placed(className, left, width) {
  const mark = make("i", { className });
  mark.style.left = `${left}%`;
  if (width !== undefined) mark.style.width = `${width}%`;
  return mark;
}

function line(className, name, bar, told) {
  const whole = make("div", { className });
  whole.append(make("span", { className: "name", textContent: name }), bar, make("span", { className: "told", textContent: told }));
  return whole;
}

function axisLine(range, ticks, better) {
  const bar = strip(range, ticks);
  for (const { value, label } of ticks) {
    const mark = make("b", { textContent: label });
    mark.style.left = `${at(value, range)}%`;
    bar.append(mark);
  }
  return line("axis", "", bar, better ? `${better} is better` : "");
}

const groupLine = (name, range, ticks) => line("group", name, strip(range, ticks), "");

function forestLine(row, range, ticks) {
  const { mean, low, high, seeds, text, verdict } = row.difference, bar = strip(range, ticks), [from, to] = range;
  const inside = value => Math.max(from, Math.min(to, value));
  if (low !== null && low < to && high > from) bar.append(placed("interval", at(inside(low), range), at(inside(high), range) - at(inside(low), range)));
  for (const seed of seeds) if (seed !== null && inside(seed) === seed) bar.append(placed("seed", at(seed, range)));
  if (inside(mean) === mean) bar.append(placed("mean", at(mean, range)));
  if ((low ?? mean) < from) bar.append(make("i", { className: "beyond left" }));
  if ((high ?? mean) > to) bar.append(make("i", { className: "beyond right" }));
  const whole = line([verdict, row.control && "control", row.chosen && "chosen"].filter(Boolean).join(" "), row.name, bar, text);
  whole.dataset.row = row.place;
  return whole;
}
