// Point clouds on plain canvases: little shaded balls, far ones fading into the page; z is up.
const MISSING = -32768, LEVELS = 24, FIRST = { yaw: -0.65, pitch: 0.35, zoom: 1 };

function unpack({ points, packed }, scale) {
  const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
  const integers = new Int16Array(bytes.buffer);
  return { count: integers.length / (3 * points), shape: index => unpackShape(integers, 3 * points, index, scale) };
}

function unpackShape(integers, length, index, scale) {
  const coordinates = [];
  for (let i = index * length; i < (index + 1) * length; i += 3) {
    const [x, y, z] = integers.subarray(i, i + 3);
    if (x !== MISSING && y !== MISSING && z !== MISSING) coordinates.push(x * scale, y * scale, z * scale);
  }
  return Float32Array.from(coordinates);
}

const mix = (a, b, part) => a.map((value, channel) => Math.round(value + (b[channel] - value) * part));
const balls = new Map();

// A ball of `radius` pixels, drawn once for each colour and depth; `level` 0 is near.
function ball(colour, paper, level, radius) {
  const key = [colour, paper, level, radius].join();
  if (!balls.has(key)) {
    const fade = 0.65 * level / (LEVELS - 1), canvas = document.createElement("canvas");
    const tone = (towards, part) => `rgb(${mix(mix(rgb(colour), towards, part), rgb(paper), fade)})`;
    canvas.width = canvas.height = Math.ceil(2 * radius) + 2;
    const pen = canvas.getContext("2d"), middle = canvas.width / 2;
    const shade = pen.createRadialGradient(middle - radius * 0.35, middle - radius * 0.4, 0, middle, middle, radius);
    shade.addColorStop(0, tone([255, 255, 255], 0.4));
    shade.addColorStop(0.5, tone([0, 0, 0], 0));
    shade.addColorStop(1, tone([0, 0, 0], 0.35));
    pen.fillStyle = shade;
    pen.arc(middle, middle, radius, 0, 2 * Math.PI);
    pen.fill();
    if (balls.size > 2000) balls.clear();
    balls.set(key, canvas);
  }
  return balls.get(key);
}

// Draw a cloud, (x, y, z) in turn; the nearest points last.
function drawCloud(canvas, points, view, colour, paper) {
  const ratio = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d"), count = points.length / 3, layers = Array.from({ length: LEVELS }, () => []);
  const [cosYaw, sinYaw, cosPitch, sinPitch] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
  const reach = 0.47 * Math.min(width, height) * view.zoom, near = Math.min(width, height) * Math.sqrt(view.zoom);
  const radius = Math.max(0.6 * ratio, Math.round(near * (count > 1500 ? 0.022 : 0.028)) / 2);
  for (let i = 0; i < count; i++) {
    const x = points[3 * i], y = points[3 * i + 1], z = points[3 * i + 2];
    const right = cosYaw * x - sinYaw * y, away = sinYaw * x + cosYaw * y;
    const up = cosPitch * z + sinPitch * away, depth = cosPitch * away - sinPitch * z, closer = 4 / (4 + depth);
    const level = Math.max(0, Math.min(LEVELS - 1, Math.floor((depth + 1) / 2 * LEVELS)));
    layers[level].push(width / 2 + reach * right * closer, height / 2 - reach * up * closer);
  }
  pen.clearRect(0, 0, width, height);
  for (let level = LEVELS - 1; level >= 0; level--) {
    const stamp = ball(colour, paper, level, radius), layer = layers[level], half = stamp.width / 2;
    for (let i = 0; i < layer.length; i += 2) pen.drawImage(stamp, layer[i] - half, layer[i + 1] - half);
  }
}

function makeGallery(gallery, models, onShow) {
  const originals = unpack(gallery.originals, gallery.scale), view = { ...FIRST };
  const named = models.map((model, place) => ({ name: model.name, colour: `--model-${place % COLOURS}`, packed: gallery.reconstructions[model.name] }));
  const panels = [{ name: "", colour: "--original", clouds: originals }].concat(
    named.filter(model => model.packed).map(model => ({ ...model, clouds: unpack(model.packed, gallery.scale) })));
  let current = 0, waiting = false;

  const draw = () => {
    waiting = false;
    for (const panel of panels) drawCloud(panel.canvas, panel.points, view, ink(panel.colour), ink("--raised"));
  };
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

  for (const panel of panels) {
    panel.canvas = make("canvas", { tabIndex: 0, role: "img" });
    panel.caption = make("figcaption");
    const sample = make("i", { className: "swatch" });
    sample.style.setProperty("--colour", `var(${panel.colour})`);
    panel.caption.append(sample, make("span"), make("small"));
    const figure = make("figure");
    figure.append(panel.canvas, panel.caption);
    element("panels").append(figure);
    turnable(panel.canvas, view, redraw);
  }
  new ResizeObserver(redraw).observe(element("panels"));

  const thumbs = gallery.ids.map((id, index) => {
    const thumb = make("button", { type: "button", title: nameOf(index), tabIndex: -1, role: "option" });
    thumb.append(make("canvas"));
    thumb.onclick = () => show(index);
    element("strip").append(thumb);
    return thumb;
  });

  function nameOf(index) { return [gallery.classes[index], gallery.ids[index]].filter(Boolean).join(" · "); }

  function show(index) {
    const last = thumbs[current], strip = element("strip");
    current = (index + gallery.ids.length) % gallery.ids.length;
    for (const panel of panels) {
      const [, title, detail] = panel.caption.children, chamfer = (gallery.chamfers[panel.name] || [])[current];
      panel.points = panel.clouds.shape(current);
      title.textContent = panel.name || gallery.ids[current];
      detail.textContent = panel.name ? (chamfer ? `chamfer ${chamfer}` : "reconstruction") : gallery.classes[current] || "original";
      panel.canvas.setAttribute("aria-label", panel.name ? `${nameOf(current)}, reconstructed by ${panel.name}` : nameOf(current));
    }
    for (const [thumb, chosen] of [[last, false], [thumbs[current], true]]) {
      thumb.setAttribute("aria-selected", chosen);
      thumb.tabIndex = chosen ? 0 : -1;
    }
    strip.scrollLeft = thumbs[current].offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + 36;
    element("shapes").value = current;
    element("position").textContent = `${current + 1} of ${gallery.ids.length}`;
    redraw();
    onShow(gallery.ids[current]);
  }

  fillChoice(gallery, show);
  element("previous").onclick = () => show(current - 1);
  element("next").onclick = () => show(current + 1);
  element("strip").onkeydown = event => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { event.preventDefault(); show(current + step); thumbs[current].focus(); }
  };
  const paint = () => {
    thumbs.forEach((thumb, index) => drawCloud(thumb.firstChild, originals.shape(index), FIRST, ink("--original"), ink("--raised")));
    redraw();
  };
  const places = new Map(gallery.ids.map((id, index) => [id, index]));
  const peek = (id, canvas) => drawCloud(canvas, originals.shape(places.get(id)), view, ink("--original"), ink("--raised"));
  show(0);
  paint();
  return { has: id => places.has(id), open: id => show(places.get(id)), paint, peek };
}

// The drop-down list, grouped by class where there are classes.
function fillChoice(gallery, show) {
  const groups = new Map(), list = element("shapes");
  gallery.ids.forEach((id, index) => {
    const name = gallery.classes[index];
    if (name && !groups.has(name)) groups.set(name, list.appendChild(make("optgroup", { label: name })));
    (groups.get(name) || list).append(make("option", { value: index, textContent: id }));
  });
  list.onchange = () => show(Number(list.value));
}

// Mouse, touch and keys change `view`; a second finger or, once the canvas has the focus, the wheel zooms.
function turnable(canvas, view, redraw) {
  const fingers = new Map();
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const change = (yaw, pitch, zoom) => {
    view.yaw += yaw;
    view.pitch = Math.max(-1.57, Math.min(1.57, view.pitch + pitch));
    view.zoom = Math.max(0.5, Math.min(6, view.zoom * zoom));
    redraw();
  };
  canvas.onpointerdown = event => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
  };
  canvas.onpointermove = event => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const wide = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (wide) change(0, 0, spread() / wide);
    else change((event.clientX - before.x) * 0.01, (event.clientY - before.y) * 0.01, 1);
  };
  canvas.onpointerup = canvas.onpointercancel = event => fingers.delete(event.pointerId);
  canvas.ondblclick = () => { Object.assign(view, FIRST); redraw(); };
  canvas.addEventListener("wheel", event => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    change(0, 0, Math.exp(-event.deltaY * 0.0015));
  }, { passive: false });
  canvas.onkeydown = event => {
    const step = { ArrowLeft: [-0.1, 0, 1], ArrowRight: [0.1, 0, 1], ArrowUp: [0, -0.1, 1], ArrowDown: [0, 0.1, 1], "+": [0, 0, 1.1], "-": [0, 0, 1 / 1.1] }[event.key];
    if (step) { event.preventDefault(); change(...step); }
  };
}
