// Reads the page's data and draws each section that has some.
const data = JSON.parse(element("data").textContent);
let maps = null;
const gallery = section("gallery", data.gallery, () => makeGallery(data.gallery, data.models, id => maps && maps.mark(id)));
maps = section("codes", data.models.some(model => model.codes), () => makeMaps(data.models, gallery));
const curves = section("curves", data.curves.length, () => makeCurves(data.curves, data.models));
if (maps && gallery) maps.mark(data.gallery.ids[0]);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const part of [gallery, maps, curves]) if (part) part.paint();
});
document.documentElement.dataset.ready = "true";
