// What is chosen, the address, the keyboard and the table of the explorer. Altair makes its charts; here they get data.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);
  const data = read("data"), charts = read("charts");
  const { slices, cells, judged, measures, grids, similarity } = data;
  const SPARSE = 40, MOST_LINES = 60, MOST_ROWS = 200, MOST_ALIKE = 8;
  const LEVEL = /accuracy|alignment|cka/;
  const DASHES = [["solid", [1, 0]], ["dashed", [6, 3]], ["dotted", [2, 2]], ["dash-dotted", [8, 2, 2, 2]], ["thinly dotted", [1, 4]]];
  const PICKED = ["slice", "beside", "colour", "seed", "time", "x", "y", "command"], TICKED = ["edges", "guides"];
  const all = cells.cell.map((_, k) => k);
  const sorted = (values) => [...new Set(values)].sort((a, b) => a - b);
  const extent = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const short = (v) => (v == null ? "" : typeof v === "number" ? String(Number(v.toPrecision(3))) : String(v));
  const named = (i) => cells.cell[i].slice(cells.cell[i].lastIndexOf("-") + 1);
  // A cell of several slices has several rows.
  const rowsOf = new Map();
  for (const i of all) rowsOf.set(named(i), [...(rowsOf.get(named(i)) ?? []), i]);
  const steps = sorted(slices.flatMap((part) => part.budgets));
  const seedOf = (i) => (cells.data_seed[i] ? `${cells.seed[i]}/${cells.data_seed[i]}` : String(cells.seed[i]));
  const seeds = [...new Set(all.map(seedOf))];
  const kinds = [...new Set(measures.map((m) => m.name))];
  const titleOf = (name) => data.titles[name] ?? name.replaceAll("_", " ");
  const wholeTitle = (m) => titleOf(m.name) + (m.layer ? `, ${m.layer}` : "");
  const colours = [...data.colours, ...measures.filter((m) => m.name !== "training_loss").map((m) => {
    const values = m.values.flatMap((v) => v ?? []);
    const [low, high] = extent(values);
    const log = !LEVEL.test(m.name) && low > 0 && high > 20 * low;
    const name = m.layer ? `${m.name}.${m.layer}` : m.name;
    return { name, title: wholeTitle(m), kind: log ? "log" : "linear", reverse: /loss/.test(name), measure: m };
  })];

  // The view, which the address holds.
  const START = {
    slice: slices[0]?.slice ?? "", beside: data.beside ?? "", colour: "loss", seed: "", T: String(steps.at(-1) ?? 0), time: "t",
    x: "log", y: "log", edges: "1", guides: "1", command: "why", sort: "",
  };
  const state = { ...START };
  const OPTIONS = {
    slice: slices.map((part) => [part.slice, part.slice]),
    beside: [["", "nothing"], ...slices.map((part) => [part.slice, part.slice])],
    colour: colours.map((c) => [c.name, c.title]),
    seed: [["", "best of each tile"], ...seeds.map((s) => [s, s])],
  };
  let chosen = [], pointed = null, written = null;

  function restore() {
    const found = new URLSearchParams(location.hash.slice(1));
    for (const [name, value] of Object.entries(START)) {
      const given = found.get(name) ?? value, among = byId(name)?.options;
      state[name] = !among || [...among].some((option) => option.value === given) ? given : value;
    }
    for (const name of TICKED) if (state[name] !== "0") state[name] = "1";
    if (!steps.includes(Number(state.T))) state.T = START.T;
    chosen = [...new Set((found.get("cells") ?? "").split(",").flatMap((id) => {
      const [digits, k] = id.split("."), rows = rowsOf.get(digits) ?? [];
      return k == null ? rows : rows.slice(k, Number(k) + 1);
    }))];
  }
  function keep() {
    const held = new URLSearchParams(Object.entries(state).filter(([name, value]) => value !== START[name]));
    const picked = new Set(chosen), ids = chosen.map((i) => {
      const rows = rowsOf.get(named(i));
      return rows.every((j) => picked.has(j)) ? named(i) : `${named(i)}.${rows.indexOf(i)}`;
    });
    if (chosen.length) held.set("cells", [...new Set(ids)].join(","));
    const text = `#${held}`.replaceAll("%2C", ",");
    if (text !== (location.hash || "#")) location.replace(text);
    written = location.hash;
  }

  // A slice's model, if that tells it from the others.
  const nameOf = (s, among = shown()) => (among.some((other) => other !== s && slices[other].model === slices[s].model) ? slices[s].slice : slices[s].model);
  const shown = () => [...new Set([state.slice, state.beside])].map((key) => slices.findIndex((part) => part.slice === key)).filter((s) => s >= 0);
  const colour = () => colours.find((c) => c.name === state.colour);
  const budgetOf = (s, T = Number(state.T)) => slices[s].budgets.filter((end) => end <= T).length - 1;
  const statusAt = (i, b) => data.statuses[judged.status[i].slice(2 * b, 2 * b + 2)];
  const relativeAt = (i, b) => judged.relative[i][b] ?? null;
  function measured(m, i, T) {
    if (m.grid[i] == null) return null;
    const last = grids[m.grid[i]].filter((step) => step <= T).length - 1;
    return m.values[i][last] ?? null;
  }
  const ofSeed = (rows) => rows.filter((i) => !state.seed || seedOf(i) === state.seed);
  const bestOf = (rows, b) => rows.toSorted((i, j) => (relativeAt(i, b) ?? Infinity) - (relativeAt(j, b) ?? Infinity))[0];
  function valueOf(rows, s, b) {
    const c = colour(), T = slices[s].budgets[b], i = bestOf(rows, b);
    if (b < 0 || i == null) return null;
    const status = statusAt(i, b).name;
    if (c.measure) return status === "diverged" ? null : measured(c.measure, i, T);
    if (c.name === "peak") return judged.peak[i][b] == null ? null : judged.peak[i][b] / cells.initial_loss[i];
    if (c.name === "half") return cells.half[i] != null && cells.half[i] <= T ? cells.half[i] : null;
    if (c.name === "status") return 1;
    if (c.name === "loss") return status === "trained" || status === "untrained" ? relativeAt(i, b) : null;
    const logs = rows.map((k) => Math.log10(relativeAt(k, b))).filter(Number.isFinite);
    return logs.length > 1 ? Math.max(...logs) - Math.min(...logs) : null;
  }
  function tilesOf(s, b = budgetOf(s)) {
    const t = slices[s].tiles, log = colour().kind === "log", whole = colour().name === "spread";
    return t.cells.map((inside, k) => {
      const rows = whole ? inside : ofSeed(inside), value = valueOf(rows, s, b), i = bestOf(rows, b);
      const status = b < 0 || i == null ? null : statusAt(i, b);
      const off = status?.sign && colour().name !== "status";
      return {
        tile: k, gamma: t.gamma[k], eta: t.eta[k], x1: t.x[k], x2: t.x2[k], y1: t.y[k], y2: t.y2[k],
        middle: (t.x[k] + t.x2[k]) / 2, value: log && !(value > 0) ? null : value, status: status?.name ?? "",
        flat: off ? status.colour : "#bdbdbd", ink: status?.ink ?? "black", sign: status?.sign ?? "",
      };
    });
  }
  // Colours are scaled to the whole budget, so that they stay while the slider moves.
  function ends() {
    const values = shown().flatMap((s) => tilesOf(s, slices[s].budgets.length - 1).map((t) => t.value)).filter((v) => v != null);
    if (colour().name === "loss") return [Math.max(Math.min(0.5, ...values), 1e-12), 1];
    const [low, high] = values.length ? extent(values) : [1, 2];
    return low < high ? [low, high] : colour().kind === "log" ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  }

  function ticks(low, high) {
    if (colour().kind !== "log") return [low, (low + high) / 2, high];
    const first = Math.ceil(Math.log10(low)), count = Math.floor(Math.log10(high)) - first + 1, each = Math.ceil(count / 7);
    return count < 3 ? [low, Math.sqrt(low * high), high] : [...Array(Math.ceil(count / each)).keys()].map((k) => 10 ** (first + k * each));
  }

  let planes = [], panels = [], built = "", builtPanels = "", painted = "", likeness = null, lookedAs = 0;
  function look() {
    const style = getComputedStyle(document.documentElement);
    const [ink, quiet, line] = ["--ink", "--quiet", "--line"].map((name) => style.getPropertyValue(name).trim());
    const text = { labelColor: ink, titleColor: ink, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" };
    const axis = { ...text, domainColor: quiet, tickColor: quiet, gridColor: line };
    return { background: "transparent", axis, legend: text, view: { stroke: line } };
  }
  // Only tiles and labels of axes are pointed at.
  function patch(spec) {
    const still = (marks = []) => marks.forEach((mark) => {
      if (["line", "symbol", "text", "rule"].includes(mark.type)) mark.interactive = false;
      still(mark.marks);
    });
    still(spec.marks);
    for (const axis of spec.axes ?? []) {
      if (axis.labels === false) continue;
      const labels = { ...axis.encode?.labels, name: axis.scale === "x" ? "gamma" : "eta", interactive: true };
      labels.update = { ...labels.update, cursor: { value: "pointer" } };
      axis.encode = { ...axis.encode, labels };
    }
    return spec;
  }
  async function embed(node, name, plane = false) {
    const options = { actions: false, renderer: "svg", tooltip: false, logLevel: 1, config: look(), ...(plane ? { patch } : {}) };
    return (await vegaEmbed(node, charts[name], options)).view;
  }
  const make = (tag, text = "", set = {}) => Object.assign(document.createElement(tag), { textContent: text, ...set });

  async function buildPlanes() {
    planes.forEach((plane) => plane.view.finalize());
    planes = [];
    byId("planes").replaceChildren();
    byId("view").classList.toggle("two", shown().length > 1);
    // All boxes first: a chart is as wide as its box.
    const boxes = shown().map((s) => {
      const box = make("div", "", { className: "plane", tabIndex: 0 }), chart = make("div", "", { className: "chart" });
      box.setAttribute("role", "application");
      box.setAttribute("aria-label", `plane of ${slices[s].slice}`);
      box.append(make("h3", slices[s].slice), chart);
      byId("planes").append(box);
      return [s, box, chart];
    });
    for (const [s, box, chart] of boxes) {
      const view = await embed(chart, `plane ${colour().kind}`, true), plane = { s, view, box };
      view.addEventListener("click", (event, item) => clicked(plane, event, item));
      view.addEventListener("pointermove", (_, item) => point(tileAt(plane, item)));
      view.addEventListener("pointerout", () => point(null));
      box.addEventListener("keydown", (event) => pressed(plane, event));
      planes.push(plane);
    }
    window.dispatchEvent(new Event("resize"));
  }
  function paintPlanes() {
    const tiles = shown().map((s) => slices[s].tiles), over = (a, b) => extent(tiles.flatMap((t) => [...t[a], ...t[b]]));
    const [left, right] = over("x", "x2"), [bottom, top] = over("y", "y2"), [low, high] = ends();
    const values = {
      left, right, bottom, top, low, high, ticks: ticks(low, high), reverse: colour().reverse, edges: Number(state.edges), guides: Number(state.guides),
      gammas: sorted(tiles.flatMap((t) => t.gamma)), etas: sorted(tiles.flatMap((t) => t.eta)),
    };
    return Promise.all(planes.map(({ s, view }) => {
      const b = budgetOf(s), edges = slices[s].edges[b] ?? {};
      Object.entries(values).forEach(([name, value]) => view.signal(name, value));
      view.data("tiles", tilesOf(s));
      view.data("edges", Object.keys(data.edges).flatMap((edge) => (edges[edge] ?? []).map(([x, y]) => ({ x, y, name: edge, shape: data.edges[edge] }))));
      view.data("lines", slices[s].lines.flatMap((line, k) => line.x.map((x, j) => ({ x, y: line.y[j], name: k }))));
      return mark({ s, view });
    }));
  }
  function mark({ s, view }) {
    const t = slices[s].tiles, held = new Set(chosen), rows = [];
    const outline = (k, stroke, inner, from = s) => {
      const { x, x2, y, y2 } = slices[from].tiles;
      rows.push({ tile: from === s ? k : null, x: x[k], x2: x2[k], y: y[k], y2: y2[k], stroke, outer: inner + 2.5, inner });
    };
    // What is chosen in the other plane alone has a thin outline at the same gamma and eta.
    const own = new Set(t.cells.flatMap((inside, k) => (inside.some((i) => held.has(i)) ? [k] : [])));
    const other = new Set(chosen.filter((i) => cells.slice[i] !== s && shown().includes(cells.slice[i])).map((i) => at(s, cells.gamma_log10[i], cells.eta_log10[i])));
    other.forEach((k) => { if (k >= 0 && !own.has(k)) outline(k, "#ffffff", 1); });
    own.forEach((k) => outline(k, "#ffffff", 2));
    const here = pointed ? at(s, pointed.gamma, pointed.eta) : -1;
    // Where this plane has no tile, the place of the other's is shown.
    if (here >= 0) outline(here, "#ff9f1c", 2.5);
    else if (pointed) outline(at(pointed.s, pointed.gamma, pointed.eta), "#ff9f1c", 1, pointed.s);
    return view.data("marked", rows).runAsync();
  }
  const at = (s, gamma, eta) => {
    const t = slices[s].tiles;
    return t.cells.findIndex((_, k) => t.x[k] <= gamma && gamma < t.x2[k] && t.y[k] <= eta && eta < t.y2[k]);
  };

  const drawn = () => {
    const under = pointed ? shown().flatMap((s) => ofSeed(slices[s].tiles.cells[at(s, pointed.gamma, pointed.eta)] ?? [])) : [];
    const lines = chosen.slice(0, MOST_LINES).map((i, k) => ({ i, colour: colourOf(k), opacity: 1 }));
    return [...lines, ...under.filter((i) => !chosen.includes(i)).slice(0, 8).map((i) => ({ i, colour: "#ff9f1c", opacity: 0.9 }))];
  };
  function colourOf(k) {
    if (chosen.length <= data.series.length) {
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      return dark && data.series[k] === "#333333" ? "#dddddd" : data.series[k];
    }
    return `hsl(${270 - (230 * k) / Math.max(1, Math.min(chosen.length, MOST_LINES) - 1)} 65% 47%)`;
  }
  async function buildPanels(names) {
    panels.forEach((panel) => panel.view.finalize());
    panels = [];
    byId("curves").replaceChildren();
    for (const name of names) {
      const layers = measures.filter((m) => m.name === name), chart = make("div", "", { className: "chart" }), box = make("div");
      const dashes = layers.length > 1 ? layers.map((m, k) => `${DASHES[k % DASHES.length][0]}: ${m.layer}`).join(", ") : "";
      box.append(make("h3", titleOf(name)), make("p", dashes, { className: "quiet" }), chart);
      byId("curves").append(box);
      panels.push({ name, layers, box, view: await embed(chart, `curves ${state.x} ${LEVEL.test(name) ? "linear" : state.y}`) });
    }
  }
  function paintPanels() {
    const first = state.x === "log" ? 1 : 0, lines = drawn();
    byId("axis").textContent = `Across: ${state.time === "tau" ? "τ = ηt/γ" : "step t"}${first ? ", with t counted from 1" : ""}.` +
      (chosen.length > MOST_LINES ? ` The first ${MOST_LINES} of ${chosen.length} chosen networks are drawn.` : "") +
      (lines.length ? "" : " Point at a tile to see its networks here.");
    return Promise.all(panels.map(({ name, layers, box, view }) => {
      const positive = state.y === "log" && !LEVEL.test(name), rows = [];
      for (const { i, colour, opacity } of lines) {
        const rate = state.time === "tau" ? 10 ** (cells.eta_log10[i] - cells.gamma_log10[i]) : 1;
        layers.forEach((m, k) => {
          if (m.grid[i] == null) return;
          const grid = grids[m.grid[i]];
          grid.forEach((step, j) => {
            const y = m.values[i][j];
            if (y == null || (positive && y <= 0)) return;
            rows.push({ cell: cells.cell[i], line: `${i} ${k}`, step, x: (step + first) * rate, y, colour, opacity, dash: DASHES[k % DASHES.length][1], sparse: grid.length < SPARSE });
          });
        });
      }
      box.classList.toggle("empty", !rows.length);
      return view.data("curves", rows).runAsync();
    }));
  }

  const studyOf = (i) => data.studies[slices[cells.slice[i]].study];
  const toy = (i) => slices[cells.slice[i]].toy;
  const COMMANDS = {
    why: (i) => `gammascape why ${cells.cell[i]}`,
    replay: (i) => `gammascape replay ${cells.cell[i]} --cells 1`,
    history: (i) => `gammascape.history("results/cells/${cells.cell[i]}")`,
  };
  const endOf = (i) => budgetOf(cells.slice[i]);
  const COLUMNS = [
    ["id", named], ["slice", (i) => slices[cells.slice[i]].slice],
    ["γ", (i) => Number((10 ** cells.gamma_log10[i]).toPrecision(4))], ["η", (i) => Number((10 ** cells.eta_log10[i]).toPrecision(4))],
    ["seed", seedOf], ["status", (i) => (endOf(i) < 0 ? "" : statusAt(i, endOf(i)).name)],
    ["loss / loss of f = 0", (i) => relativeAt(i, endOf(i))], ["final loss", (i) => cells.final_loss[i]],
    ["test accuracy", (i) => cells.test_accuracy[i]], ["peak loss", (i) => cells.peak_loss[i]], ["peak at step", (i) => cells.peak_step[i]],
    ["device time (s)", (i) => cells.seconds[i]], ["command", (i) => (toy(i) ? "computed, not trained" : COMMANDS[state.command](i))],
    ["reason", (i) => {
      const b = endOf(i), peak = b < 0 ? null : judged.peak[i][b] / cells.initial_loss[i];
      return b < 0 ? "" : studyOf(i).words[statusAt(i, b).name] + (peak > studyOf(i).catapult ? `; its loss rose to ${short(peak)} times the first` : "");
    }],
  ];
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? "")));
  function inOrder() {
    const found = COLUMNS.find(([name]) => name === state.sort.replace(/^-/, ""));
    if (!found) return chosen;
    const sign = state.sort.startsWith("-") ? -1 : 1, [, value] = found;
    // What has no value stands last either way.
    return chosen.toSorted((i, j) => (value(i) == null) - (value(j) == null) || sign * compare(value(i), value(j)));
  }
  function csv() {
    const quoted = (v) => (/[",\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
    const lines = inOrder().map((i) => [cells.cell[i], ...COLUMNS.slice(1).map(([, value]) => String(value(i) ?? ""))]);
    return [["cell", ...COLUMNS.slice(1).map(([name]) => name)], ...lines].map((line) => line.map(quoted).join(",") + "\n").join("");
  }
  function copy(text, what) {
    (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(() => { byId("said").textContent = `Copied ${what}.`; }, () => prompt("Copy this:", text));
  }
  function neighbour(i, way) {
    const [axis, other] = /[←→]/.test(way) ? ["gamma_log10", "eta_log10"] : ["eta_log10", "gamma_log10"], sign = /[→↑]/.test(way) ? 1 : -1;
    const same = slices[cells.slice[i]].tiles.cells.flat().filter((j) => seedOf(j) === seedOf(i) && sign * (cells[axis][j] - cells[axis][i]) > 1e-9);
    const away = (j, name) => Math.abs(cells[name][j] - cells[name][i]);
    return same.filter((j) => axis === "gamma_log10" || away(j, other) < 1e-9)
      .toSorted((j, k) => away(j, axis) - away(k, axis) || away(j, other) - away(k, other))[0];
  }
  function paintTable() {
    byId("count").textContent = chosen.length ? `${chosen.length} chosen` : "No network is chosen";
    byId("head").replaceChildren(make("th"), make("th", "neighbours"), ...COLUMNS.map(([name]) => {
      const th = make("th"), mark = state.sort === name ? " ▴" : state.sort === `-${name}` ? " ▾" : "";
      th.append(make("button", name + mark, { onclick: () => set("sort", state.sort === name ? `-${name}` : name) }));
      return th;
    }));
    const rank = new Map(chosen.map((i, k) => [i, k]));
    byId("rows").replaceChildren(...inOrder().slice(0, MOST_ROWS).map((i) => {
      const row = make("tr"), first = make("td"), near = make("td"), swatch = make("span", "", { className: "swatch" });
      swatch.style.background = rank.get(i) < MOST_LINES ? colourOf(rank.get(i)) : "transparent";
      first.append(swatch);
      for (const way of "←→↓↑") {
        const j = neighbour(i, way), title = `the next ${/[←→]/.test(way) ? "γ" : "η"}`;
        near.append(make("button", way, { disabled: j == null, title, ariaLabel: title, onclick: (event) => choose([j], event.shiftKey) }));
      }
      row.append(first, near, ...COLUMNS.map(([name, value]) => {
        const td = make("td", name === "command" ? "" : short(value(i)));
        if (name === "id") td.title = cells.cell[i];
        if (name === "command") td.append(make("code", value(i)), " ", ...(toy(i) ? [] : [make("button", "copy", { onclick: () => copy(value(i), value(i)) })]));
        return td;
      }));
      return row;
    }));
    if (chosen.length > MOST_ROWS) byId("count").textContent += `, ${MOST_ROWS} in the table, all in the CSV`;
  }

  async function paintLikeness() {
    const has = new Set(similarity.slice_a.map((s, k) => `${s} ${similarity.gamma_a[k]}`).concat(similarity.slice_b.map((s, k) => `${s} ${similarity.gamma_b[k]}`)));
    const keyOf = (i) => `${cells.slice[i]} ${cells.gamma_log10[i]}`;
    const compared = chosen.filter((i) => cells.best[i] && has.has(keyOf(i)));
    const nodes = [...new Set(compared.map(keyOf))].slice(0, MOST_ALIKE), without = chosen.length - compared.length;
    const among = [...new Set(nodes.map((node) => Number(node.split(" ")[0])))];
    const power = (s, gamma) => `${nameOf(s, among)} γ=${short(10 ** gamma)}`;
    const rows = new Map(), pairs = new Set();
    similarity.cka.forEach((cka, k) => {
      const ends = ["a", "b"].map((end) => ({
        node: nodes.indexOf(`${similarity[`slice_${end}`][k]} ${similarity[`gamma_${end}`][k]}`),
        name: `${power(similarity[`slice_${end}`][k], similarity[`gamma_${end}`][k])} ${similarity[`layer_${end}`][k]}`,
      }));
      if (cka == null || ends.some((end) => end.node < 0)) return;
      if (ends[0].node !== ends[1].node) pairs.add(ends.map((end) => end.node).sort((a, b) => a - b).join(" "));
      for (const [a, b] of [ends, ends.toReversed()]) rows.set(`${a.name}|${b.name}`, { ends: [[a.node, a.name], [b.node, b.name]], cka });
    });
    const lacking = nodes.flatMap((one, j) => nodes.slice(j + 1).map((other, k) => [j, j + 1 + k])).filter((pair) => !pairs.has(pair.join(" ")));
    const words = (node) => { const [s, gamma] = nodes[node].split(" ").map(Number); return power(s, gamma); };
    byId("alike").hidden = byId("unlike").hidden = chosen.length < 2 || !similarity.cka.length;
    byId("unlike").textContent = "Debiased CKA at equal steps, a mean over seeds, of networks at the best η of their γ." +
      (without ? ` ${without} of ${chosen.length} chosen networks are not among them.` : "") +
      (lacking.length ? ` No pair of layers: ${lacking.slice(0, 6).map((pair) => pair.map(words).join(" and ")).join("; ")}${lacking.length > 6 ? "; …" : ""}.` : "");
    let list = nodes.length > 1 && !byId("alike").hidden ? [...rows.values()] : [];
    byId("likeness").hidden = !list.length;
    if (!list.length) return;
    const order = (layers) => [...new Set(layers.toSorted(([n, x], [m, y]) => n - m || compare(x, y)).map(([, name]) => name))];
    const names = order(list.flatMap(({ ends }) => ends));
    list = list.map(({ ends: [[, a], [, b]], cka }) => ({ a, b, nth_a: names.indexOf(a), nth_b: names.indexOf(b), cka }));
    likeness ??= await embed(byId("likeness"), "likeness");
    await likeness.data("likeness", list).runAsync();
  }

  const tileAt = (plane, item) => {
    const k = item?.datum?.tile, t = slices[plane.s].tiles;
    return k == null ? null : { gamma: t.gamma[k], eta: t.eta[k], s: plane.s };
  };
  const cellsAt = (gamma, eta) => shown().flatMap((s) => ofSeed(slices[s].tiles.cells[at(s, gamma, eta)] ?? []));
  const inPlanes = (test) => shown().flatMap((s) => slices[s].tiles.cells.flatMap((inside, k) => (test(slices[s].tiles, k) ? ofSeed(inside) : [])));
  function choose(rows, add) {
    const more = [...new Set(rows)], held = new Set(chosen);
    chosen = !add ? more : more.every((i) => held.has(i)) ? chosen.filter((i) => !more.includes(i)) : [...new Set([...chosen, ...more])];
    return refresh();
  }
  const line = (axis, value, add) => choose(inPlanes((t, k) => Math.abs(t[axis][k] - value) < 1e-9), add);
  let dragged = false;
  function clicked(plane, event, item) {
    if (dragged) return;
    const name = item?.mark?.name, tile = tileAt(plane, item);
    if (item?.mark?.role === "axis-label") line(name, item.datum.value, event.shiftKey);
    else if (tile) choose(cellsAt(tile.gamma, tile.eta), event.shiftKey);
  }
  document.addEventListener("pointerdown", () => { dragged = false; });
  document.addEventListener("pointerup", (event) => {
    for (const { s, view } of planes) {
      const over = view.signal("brush"), wide = ["brush_x", "brush_y"].some((name) => Math.abs(view.signal(name)?.[1] - view.signal(name)?.[0]) > 4);
      if (!over?.x1 || !wide) continue;
      dragged = true;
      const [[left, right], [bottom, top]] = [over.x1, over.y1].map((pair) => pair.toSorted((a, b) => a - b));
      view.signal("brush_x", [0, 0]).signal("brush_y", [0, 0]).run();
      const t = slices[s].tiles, within = (k) => left <= t.gamma[k] && t.gamma[k] <= right && bottom <= t.eta[k] && t.eta[k] <= top;
      choose(t.cells.flatMap((_, k) => (within(k) ? cellsAt(t.gamma[k], t.eta[k]) : [])), event.shiftKey);
    }
  });
  function point(tile) {
    if (tile?.gamma === pointed?.gamma && tile?.eta === pointed?.eta) return;
    pointed = tile;
    byId("pointed").textContent = !tile ? "" : `γ = ${short(10 ** tile.gamma)}, η = ${short(10 ** tile.eta)}` +
      cellsAt(tile.gamma, tile.eta).slice(0, 6).map((i) => {
        const b = endOf(i), accuracy = measures.find((m) => m.name === "test_accuracy");
        const tested = b >= 0 && accuracy ? measured(accuracy, i, slices[cells.slice[i]].budgets[b]) : null;
        const parts = [b < 0 ? "" : statusAt(i, b).name, `loss ${short(relativeAt(i, b)) || "none"}`, tested == null ? "" : `test accuracy ${short(tested)}`];
        return `; ${shown().length > 1 ? `${nameOf(cells.slice[i])} ` : ""}seed ${seedOf(i)}: ${parts.filter(Boolean).join(", ")}`;
      }).join("");
    refresh(true);
  }
  function pressed(plane, event) {
    const t = slices[plane.s].tiles, key = event.key, here = pointed ? at(plane.s, pointed.gamma, pointed.eta) : -1;
    const go = (k) => k != null && point({ gamma: t.gamma[k], eta: t.eta[k], s: plane.s });
    if (key.startsWith("Arrow")) {
      const [axis, other] = /Left|Right/.test(key) ? ["gamma", "eta"] : ["eta", "gamma"], sign = /Right|Up/.test(key) ? 1 : -1;
      const rest = t.cells.map((_, k) => k).filter((k) => here >= 0 && sign * (t[axis][k] - t[axis][here]) > 1e-9 && (axis === "gamma" || Math.abs(t.gamma[k] - t.gamma[here]) < 1e-9));
      const far = (k, name) => Math.abs(t[name][k] - t[name][here]);
      go(here < 0 ? Math.floor(t.cells.length / 2) : rest.toSorted((j, k) => far(j, axis) - far(k, axis) || far(j, other) - far(k, other))[0]);
    } else if (here >= 0 && (key === "Enter" || key === " ")) choose(cellsAt(t.gamma[here], t.eta[here]), event.shiftKey);
    else if (here >= 0 && (key === "g" || key === "e")) line(key === "g" ? "gamma" : "eta", key === "g" ? t.gamma[here] : t.eta[here], event.shiftKey);
    else return;
    event.preventDefault();
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { point(null); choose([], false); }
  });
  function set(name, value) {
    state[name] = value;
    return refresh();
  }

  // One drawing at a time; what is asked for meanwhile is drawn once.
  let waiting = null, pointing = true, busy = Promise.resolve();
  function refresh(onlyPointed = false) {
    pointing = pointing && onlyPointed;
    waiting ??= busy = busy.catch(() => {}).then(async () => {
      const only = pointing;
      waiting = null;
      pointing = true;
      await draw(only);
    });
    return waiting ?? busy;
  }
  async function draw(only) {
    const names = kinds.filter((name) => measures.some((m) => m.name === name && shown().some((s) => m.grid.some((g, i) => g != null && cells.slice[i] === s))));
    const key = JSON.stringify([shown(), colour().kind, lookedAs]), keyOfPanels = JSON.stringify([names, state.x, state.y, lookedAs]);
    if (!only) {
      paintControls();
      if (key !== built) await buildPlanes();
      if (keyOfPanels !== builtPanels) await buildPanels(names);
      [built, builtPanels] = [key, keyOfPanels];
      const { slice, beside, colour: of, seed, T, edges, guides } = state, keyOfTiles = JSON.stringify([slice, beside, of, seed, T, edges, guides, lookedAs]);
      await (keyOfTiles === painted ? Promise.all(planes.map(mark)) : paintPlanes());
      painted = keyOfTiles;
      keep();
      paintTable();
      await paintLikeness();
    } else await Promise.all(planes.map(mark));
    await paintPanels();
  }
  function paintControls() {
    for (const name of PICKED) byId(name).value = state[name];
    for (const name of TICKED) byId(name).checked = state[name] === "1";
    byId("T").value = steps.indexOf(Number(state.T));
    byId("steps").textContent = `T = ${Number(state.T).toLocaleString("en")}`;
  }
  for (const [name, options] of Object.entries(OPTIONS)) byId(name).append(...options.map(([value, text]) => make("option", text, { value })));
  for (const name of PICKED) byId(name).onchange = (event) => set(name, event.target.value);
  for (const name of TICKED) byId(name).onchange = (event) => set(name, event.target.checked ? "1" : "0");
  byId("T").max = steps.length - 1;
  byId("T").oninput = (event) => set("T", String(steps[event.target.value]));
  byId("csv").onclick = () => copy(csv(), `${chosen.length} rows`);
  byId("clear").onclick = () => choose([], false);
  byId("beside").parentElement.hidden = slices.length < 2;
  byId("seed").parentElement.hidden = seeds.length < 2;
  matchMedia("(prefers-color-scheme: dark)").onchange = () => { likeness?.finalize(); likeness = null; lookedAs += 1; refresh(); };
  window.addEventListener("hashchange", () => { if (location.hash !== written) { restore(); refresh(); } });
  restore();
  const begun = performance.now();
  const ready = (slices.length ? refresh() : Promise.resolve()).then(() => performance.now() - begun);
  window.explorer = { data, state, ready, csv, choose, point, idle: () => busy, planes: () => planes, panels: () => panels, chosen: () => chosen, likeness: () => likeness };
})();
