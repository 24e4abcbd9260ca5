/* A figure in a window that is narrower than it: panels one below another, legends below, titles in more lines. */
"use strict";
const LETTER = 0.62; // Width of a letter over its height, on average over titles
const SIDES = 100; // Pixels beside a panel: its axis and the padding of the figure

function wrapped(text, room) {
  const lines = [];
  for (const line of [text].flat()) {
    let last = "";
    for (const word of line.split(" ")) {
      if (last && last.length + 1 + word.length > room) { lines.push(last); last = word; } else last += (last && " ") + word;
    }
    lines.push(last);
  }
  return lines;
}

function titled(title, room) {
  const { text = title, subtitle, fontSize = 13, subtitleFontSize = 11, ...rest } = typeof title === "object" && !Array.isArray(title) ? title : {};
  const fitted = { ...rest, fontSize, subtitleFontSize, text: wrapped([text].flat().join(" "), room / (LETTER * fontSize)) };
  return subtitle ? { ...fitted, subtitle: wrapped(subtitle, room / (LETTER * subtitleFontSize)) } : fitted;
}

function refit(encoding, stacked) {
  return Object.fromEntries(Object.entries(encoding).map(([channel, how]) => {
    const fit = { ...how };
    if (how?.legend) fit.legend = { ...how.legend, orient: "bottom", direction: "horizontal", columns: 1 };
    // Names that a neighbour on the left had for both.
    if (stacked && channel === "y" && how?.axis?.labels === false) fit.axis = { ...how.axis, labels: true };
    return [channel, Array.isArray(how) ? how : fit];
  }));
}

function fitted(chart, room, share, inside = false, stacked = false) {
  const { hconcat, ...rest } = chart;
  const fit = hconcat ? { ...rest, vconcat: hconcat } : rest;
  const inner = (part) => fitted(part, room, share, true, stacked || Boolean(hconcat ?? chart.concat));
  for (const kind of ["vconcat", "concat"]) if (fit[kind]) fit[kind] = fit[kind].map(inner);
  if (fit.layer) fit.layer = fit.layer.map((part) => fitted(part, room, share, inside, stacked));
  if (fit.concat) fit.columns = 1;
  if (fit.title) fit.title = titled(fit.title, inside ? room - SIDES : room);
  if (typeof fit.width === "number") fit.width = Math.min(fit.width, room - SIDES) * share;
  if (fit.encoding) fit.encoding = refit(fit.encoding, stacked);
  return fit;
}

async function draw(place, spec, options) {
  let shown = await vegaEmbed(place, spec, options);
  const config = { ...spec.config, legend: { ...spec.config?.legend, orient: "bottom", layout: { bottom: { direction: "vertical", margin: 8 } } } };
  // Sides and labels keep their size, and the rest shares what is left.
  for (let share = 1, tries = 0; place.scrollWidth > place.clientWidth && tries < 3; tries += 1) {
    if (tries) share *= Math.max(0.6, (place.clientWidth - SIDES) / (place.scrollWidth - SIDES));
    shown.finalize();
    shown = await vegaEmbed(place, { ...fitted(spec, place.clientWidth, share), config }, options);
  }
}

function show(spec, options) {
  window.drawn = draw(document.getElementById("vega-chart"), spec, options);
  return window.drawn;
}
