// Finding and making elements; a section that fails says so and spares the others.
const element = id => document.getElementById(id);
const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const COLOURS = 6;  // of models, in page.css
const ink = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = hex => [1, 3, 5].map(place => parseInt(hex.slice(place, place + 2), 16));

function section(id, present, draw) {
  if (!present) return null;
  element(id).hidden = false;
  try {
    return draw();
  } catch (error) {
    console.error(error);
    element(id).append(make("p", { textContent: `This part could not be drawn: ${error.message}` }));
    return null;
  }
}
