"use strict";
/* Charts by Observable Plot. Each is a figure with a role, a spoken summary and a table of its numbers. */
const Charts = (() => {
  const W = 460, H = 230, ROW = 20;
  const html = (name, attributes = {}, text) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (value) => (Math.abs(value) >= 1000 ? value.toLocaleString("en") : String(Number(value.toPrecision(3))));
  const shortened = (name) => (name.length > 16 ? `${name.slice(0, 15)}…` : name);

  function figure(title, summary, options) {
    const svg = Plot.plot({ width: W, height: H, marginLeft: 52, marginRight: 16, marginTop: 18, marginBottom: 44, style: "font-size: 13px", ...options });
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${title}. ${summary}`);
    const made = html("figure", { class: "chart" });
    made.append(svg, html("figcaption", {}, `${title}. ${summary}`));
    return made;
  }

  const across = (label, domain) => ({ label, domain, ticks: 5, labelAnchor: "center", labelArrow: "none" });
  const upward = (top) => ({ label: null, domain: [0, top], ticks: 4, grid: true });

  /* A dashed line at a threshold, with its words on the side that has room. */
  function mark(value, words, [low, high], colour = "#000") {
    if (value === null || value === undefined) return [];
    const right = value - low > 0.6 * (high - low);
    return [Plot.ruleX([value], { stroke: colour, strokeWidth: 2, strokeDasharray: "6 3" }),
      Plot.text([words], { x: [value], frameAnchor: "top", lineAnchor: "bottom", dy: -3, dx: right ? -4 : 4, textAnchor: right ? "end" : "start" })];
  }

  function numbers(made, headings, rows) {
    const details = html("details"), table = html("table"), head = html("tr"), body = html("tbody");
    details.append(html("summary", {}, "numbers"));
    for (const heading of headings) head.append(html("th", { scope: "col" }, heading));
    for (const row of rows) {
      const line = html("tr");
      for (const cell of row) line.append(html("td", { class: "number" }, typeof cell === "number" ? short(cell) : cell));
      body.append(line);
    }
    const top = html("thead");
    top.append(head);
    table.append(top, body);
    const scroll = html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of the chart" });
    scroll.append(table);
    details.append(scroll);
    made.append(details);
    return made;
  }

  /* Layers of bars, drawn over one another: [{name, counts, fill, outline}]. */
  function histogram({ title, summary, label, edges, layers, threshold, words }) {
    const range = [edges[0], edges[edges.length - 1]], top = Math.max(1, ...layers.flatMap((layer) => Array.from(layer.counts)));
    const bars = (layer) => Plot.rectY(Array.from(layer.counts, (count, at) => ({ low: edges[at], high: edges[at + 1], count })).filter((bar) => bar.count), {
      x1: "low", x2: "high", y: "count", fill: layer.fill, stroke: layer.outline, strokeWidth: 0.7, inset: 0,
    });
    const made = figure(title, summary, { x: across(label, range), y: upward(top), marks: [...layers.map(bars), Plot.ruleY([0]), ...mark(threshold, words, range)] });
    return numbers(made, ["from", "to", ...layers.map((layer) => layer.name)],
      Array.from(layers[0].counts, (_, at) => [edges[at], edges[at + 1], ...layers.map((layer) => layer.counts[at])]));
  }

  function curve({ title, summary, label, xs, lines, threshold, words }) {
    const range = [xs[0], xs[xs.length - 1]], top = Math.max(1, ...lines.flatMap((line) => line.ys));
    const drawn = (line) => Plot.lineY(line.ys, { x: xs, stroke: line.stroke, strokeWidth: 2.5, strokeDasharray: line.dash || null });
    const made = figure(title, summary, { x: across(label, range), y: upward(top), marks: [...lines.map(drawn), Plot.ruleY([0]), ...mark(threshold, words, range)] });
    return numbers(made, ["threshold", ...lines.map((line) => line.name)], xs.map((value, at) => [value, ...lines.map((line) => line.ys[at])]));
  }

  /* 10 to 90 % as a bar with the median as a tick, one row a group. */
  function ranges({ title, summary, label, groups, threshold, words }) {
    const shown = groups.filter((group) => group.spread["50"] !== undefined).map((group) => ({ name: group.name, low: group.spread["10"], middle: group.spread["50"], high: group.spread["90"] }));
    const range = [0, Math.max(1e-9, threshold || 0, ...shown.map((group) => group.high))];
    const made = figure(title, summary, {
      height: shown.length * ROW + 58, marginLeft: 150,
      x: { ...across(label, range), grid: true },
      y: { label: null, domain: shown.map((group) => group.name), tickFormat: shortened, tickSize: 0, padding: 0.3 },
      marks: [Plot.barX(shown, { y: "name", x1: "low", x2: "high", fill: "#56b4e9" }), Plot.tickX(shown, { y: "name", x: "middle", stroke: "#000", strokeWidth: 3 }),
        ...mark(threshold, words, range, "#d55e00")],
    });
    return numbers(made, ["group", "10 %", "median", "90 %"], shown.map((group) => [group.name, group.low, group.middle, group.high]));
  }

  return { histogram, curve, ranges, html, short };
})();
