"use strict";
/* Charts as plain SVG: no library. Each is a figure with a role, a spoken summary and a table of its numbers. */
const Charts = (() => {
  const W = 460, H = 230, L = 52, R = 14, T = 14, B = 40;
  const SVG = "http://www.w3.org/2000/svg";
  const node = (name, attributes = {}, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const html = (name, attributes = {}, text) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (value) => (Math.abs(value) >= 1000 ? value.toLocaleString("en") : String(Number(value.toPrecision(3))));

  function ticks(low, high, count = 5) {
    const span = high - low || 1, raw = span / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
    const found = [];
    for (let at = Math.ceil(low / step); at * step <= high + 1e-9 * span; at++) found.push(at * step);
    return found;
  }

  /* An empty chart with axes; returns the svg and functions from values to pixels. */
  function frame(title, summary, xs, ys, xLabel) {
    const figure = html("figure", { class: "chart" });
    const svg = node("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}. ${summary}` });
    const x = (value) => L + ((value - xs[0]) / (xs[1] - xs[0] || 1)) * (W - L - R);
    const y = (value) => H - B - ((value - ys[0]) / (ys[1] - ys[0] || 1)) * (H - T - B);
    for (const value of ticks(...ys, 4)) {
      svg.append(node("line", { x1: L, x2: W - R, y1: y(value), y2: y(value), stroke: "#e4e4e4" }));
      svg.append(node("text", { x: L - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
    }
    for (const value of ticks(...xs)) svg.append(node("text", { x: x(value), y: H - B + 18, "text-anchor": "middle" }, short(value)));
    svg.append(node("line", { x1: L, x2: W - R, y1: H - B, y2: H - B, stroke: "#1b1b1b" }));
    svg.append(node("text", { x: (L + W - R) / 2, y: H - 5, "text-anchor": "middle" }, xLabel));
    figure.append(svg, html("figcaption", {}, `${title}. ${summary}`));
    return { figure, svg, x, y };
  }

  function numbers(figure, headings, rows) {
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
    figure.append(details);
  }

  function mark(chart, value, words) {
    if (value === null || value === undefined) return;
    chart.svg.append(node("line", { x1: chart.x(value), x2: chart.x(value), y1: T, y2: H - B, stroke: "#000", "stroke-width": 2, "stroke-dasharray": "6 3" }));
    const right = chart.x(value) > W * 0.6;
    chart.svg.append(node("text", { x: chart.x(value) + (right ? -5 : 5), y: T + 12, "text-anchor": right ? "end" : "start" }, words));
  }

  /* Layers of bars, drawn over one another: [{name, counts, fill, outline}]. */
  function histogram({ title, summary, label, edges, layers, threshold, words }) {
    const top = Math.max(1, ...layers.flatMap((layer) => Array.from(layer.counts)));
    const chart = frame(title, summary, [edges[0], edges[edges.length - 1]], [0, top], label);
    for (const layer of layers) {
      let path = "";
      for (let at = 0; at < layer.counts.length; at++) {
        const left = chart.x(edges[at]), right = chart.x(edges[at + 1]), height = chart.y(layer.counts[at]);
        if (layer.counts[at]) path += `M${left.toFixed(1)} ${H - B}V${height.toFixed(1)}H${right.toFixed(1)}V${H - B}Z`;
      }
      chart.svg.append(node("path", { d: path, fill: layer.fill, stroke: layer.outline || "none", "stroke-width": 0.7 }));
    }
    mark(chart, threshold, words);
    numbers(chart.figure, ["from", "to", ...layers.map((layer) => layer.name)],
      Array.from(layers[0].counts, (_, at) => [edges[at], edges[at + 1], ...layers.map((layer) => layer.counts[at])]));
    return chart.figure;
  }

  function curve({ title, summary, label, xs, lines, threshold, words }) {
    const top = Math.max(1, ...lines.flatMap((line) => line.ys));
    const chart = frame(title, summary, [xs[0], xs[xs.length - 1]], [0, top], label);
    for (const line of lines) {
      const d = xs.map((value, at) => `${at ? "L" : "M"}${chart.x(value).toFixed(1)} ${chart.y(line.ys[at]).toFixed(1)}`).join("");
      chart.svg.append(node("path", { d, fill: "none", stroke: line.stroke, "stroke-width": 2.5, "stroke-dasharray": line.dash || "" }));
    }
    mark(chart, threshold, words);
    numbers(chart.figure, ["threshold", ...lines.map((line) => line.name)], xs.map((value, at) => [value, ...lines.map((line) => line.ys[at])]));
    return chart.figure;
  }

  /* 10 to 90 % as a bar with the median as a tick, one row a group. */
  function ranges({ title, summary, label, groups, threshold, words }) {
    const shown = groups.filter((group) => group.spread["50"] !== undefined);
    const figure = html("figure", { class: "chart" });
    const row = 20, height = shown.length * row + B + T + 14, left = 120;
    const high = Math.max(1e-9, threshold || 0, ...shown.map((group) => group.spread["90"]));
    const svg = node("svg", { viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": `${title}. ${summary}` });
    const x = (value) => left + (value / high) * (W - left - R);
    for (const value of ticks(0, high)) {
      svg.append(node("line", { x1: x(value), x2: x(value), y1: T + 14, y2: height - B, stroke: "#e4e4e4" }));
      svg.append(node("text", { x: x(value), y: height - B + 18, "text-anchor": "middle" }, short(value)));
    }
    shown.forEach((group, at) => {
      const y = T + 14 + at * row, name = group.name.length > 16 ? group.name.slice(0, 15) + "…" : group.name;
      const text = node("text", { x: left - 6, y: y + 14, "text-anchor": "end" }, name);
      text.append(node("title", {}, group.name));
      svg.append(text, node("rect", { x: x(group.spread["10"]), y: y + 4, width: Math.max(1, x(group.spread["90"]) - x(group.spread["10"])), height: 12, fill: "#56b4e9" }),
        node("rect", { x: x(group.spread["50"]) - 1.5, y: y + 1, width: 3, height: 18, fill: "#000" }));
    });
    if (threshold) {
      svg.append(node("line", { x1: x(threshold), x2: x(threshold), y1: T, y2: height - B, stroke: "#d55e00", "stroke-width": 2, "stroke-dasharray": "6 3" }));
      svg.append(node("text", { x: x(threshold) + 4, y: T + 8 }, words));
    }
    svg.append(node("text", { x: (left + W - R) / 2, y: height - 5, "text-anchor": "middle" }, label));
    figure.append(svg, html("figcaption", {}, `${title}. ${summary}`));
    numbers(figure, ["group", "10 %", "median", "90 %"], shown.map((group) => [group.name, group.spread["10"], group.spread["50"], group.spread["90"]]));
    return figure;
  }

  return { histogram, curve, ranges, html, short };
})();
