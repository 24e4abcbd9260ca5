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

function below(encoding) {
  return Object.fromEntries(Object.entries(encoding).map(([channel, how]) => [channel,
    how?.legend ? { ...how, legend: { ...how.legend, orient: "bottom", direction: "horizontal", columns: 1 } } : how]));
}

function fitted(chart, room) {
  const { hconcat, ...rest } = chart;
  const fit = hconcat ? { ...rest, vconcat: hconcat } : rest;
  for (const kind of ["layer", "vconcat", "concat"]) if (fit[kind]) fit[kind] = fit[kind].map((part) => fitted(part, room));
  if (fit.concat) fit.columns = 1;
  if (fit.title) fit.title = titled(fit.title, room);
  if (typeof fit.width === "number") fit.width = Math.min(fit.width, room - SIDES);
  if (fit.encoding) fit.encoding = below(fit.encoding);
  return fit;
}

async function draw(place, spec, options) {
  const first = await vegaEmbed(place, spec, options);
  if (place.scrollWidth <= place.clientWidth) return;
  first.finalize();
  const config = { ...spec.config, legend: { ...spec.config?.legend, orient: "bottom", layout: { bottom: { direction: "vertical", margin: 8 } } } };
  await vegaEmbed(place, { ...fitted(spec, place.clientWidth), config }, options);
}

function show(spec, options) {
  window.drawn = draw(document.getElementById("vega-chart"), spec, options);
  return window.drawn;
}
