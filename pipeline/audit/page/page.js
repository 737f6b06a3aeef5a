/* The sliders: thresholds over the embedded pairs; counts, charts, pictures and commands follow. */
const AuditPage = (() => {
  const { html, short } = Charts;
  const data = JSON.parse(document.getElementById("data").textContent);
  const sweep = data.sweep;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const columns = {};
  for (const [name, text] of Object.entries(sweep.columns)) columns[name] = new Float64Array(bytes(text));
  const kept = new Uint8Array(bytes(sweep.kept)), reason = new Int32Array(bytes(sweep.reason)), sample = new Int32Array(bytes(sweep.sample));
  const samples = sweep.samples && Object.fromEntries(Object.entries(sweep.samples).map(([name, text]) => [name, new Float64Array(bytes(text))]));
  const count = sweep.embedded;
  const sliders = sweep.sliders.map((slider, at) => ({ ...slider, at, value: slider.start, id: `slider-${at}` }));
  let focal = 1;

  /* The limit on the stored column: metres are divided by the assumed change of focal length. */
  const limit = (slider) => (slider.scales ? slider.value / focal : slider.value);
  const isOn = (slider) => (slider.side === ">=" ? slider.value > slider.off : slider.value < slider.off);
  /* A pair without a figure (NaN) misses every threshold but those whose gate lets it pass. */
  const misses = (slider, value, bound) => (value !== value ? !slider.keeps_unknown : slider.side === ">=" ? value < bound : value > bound);
  const holds = (slider, value) => !isOn(slider) || !misses(slider, value, limit(slider));

  /* How many thresholds every pair misses, and the last one it misses. */
  function judge() {
    const missed = new Uint8Array(count), last = new Int8Array(count).fill(-1);
    for (const slider of sliders) {
      if (!isOn(slider)) continue;
      const values = columns[slider.column], bound = limit(slider), at = slider.at;
      for (let i = 0; i < count; i++) if (misses(slider, values[i], bound)) { missed[i]++; last[i] = at; }
    }
    return { misses: missed, last };
  }

  function tally({ misses, last }) {
    const alone = new Array(sliders.length).fill(0), found = { pass: 0, stay: 0, lost: 0, back: 0, spare: 0, outside: 0, kept: 0, samples: 0 };
    const spare = sweep.reasons.indexOf("enough-references"), none = sweep.reasons.indexOf(""), seen = new Set();
    for (let i = 0; i < count; i++) {
      const passes = misses[i] === 0;
      if (passes) found.pass++;
      if (kept[i]) {
        found.kept++;
        if (passes) { found.stay++; if (sample[i] >= 0) seen.add(sample[i]); } else found.lost++;
        if (misses[i] === 1) alone[last[i]]++;
      } else if (passes) { if (reason[i] === spare) found.spare++; else if (reason[i] === none) found.outside++; else found.back++; }
    }
    found.samples = seen.size;
    return { ...found, alone };
  }

  const ROWS = [
    ["pass", "pairs that pass", (f) => f.pass / (count || 1)],
    ["stay", "kept pairs that stay", (f) => f.stay / (f.kept || 1)],
    ["lost", "kept pairs that would go", (f) => f.lost / (f.kept || 1)],
    ["spare", "spare pairs that pass (their target had enough references)", null],
    ...(data.selection ? [["outside", "pairs that pass, but the selection leaves out", null]] : []),
    ["back", "other dropped pairs that would pass (need a new run)", null],
    ["samples", "samples with a reference left", (f) => f.samples / (sweep.sample_count || 1)],
  ];

  function showCounts(found) {
    const body = document.querySelector("#counts tbody");
    body.replaceChildren(...ROWS.map(([name, words, share]) => {
      const line = html("tr");
      line.append(html("td", {}, words), html("td", { id: `count-${name}`, "data-value": found[name] }, found[name].toLocaleString("en")),
        html("td", {}, share ? `${(100 * share(found)).toFixed(1)} %` : ""));
      return line;
    }));
    document.getElementById("spoken").textContent = `${found.stay} kept pairs stay, ${found.samples} samples.`;
    for (const slider of sliders)
      document.getElementById(`${slider.id}-alone`).textContent = isOn(slider) ? `${found.alone[slider.at].toLocaleString("en")} kept pairs go by this line alone` : "off";
  }

  const python = (value) => String(value);
  function commands() {
    const on = sliders.filter(isOn);
    const threshold = (slider) => `${slider.column} ${slider.side} ${python(limit(slider))}`;
    const pairs = on.map((slider) => (slider.keeps_unknown ? `(${slider.column} is None or ${threshold(slider)})` : threshold(slider))).join(" and ");
    const own = on.filter((slider) => slider.samples);
    const where = own.map((slider) => `${slider.samples} >= ${python(limit(slider))}`).join(" and ");
    const value = (slider) => (isOn(slider) ? python(limit(slider)) : slider.keeps_unknown ? "null" : python(slider.off));
    const settings = sliders.filter((slider) => slider.setting).map((slider) => `--set ${slider.setting}=${value(slider)}`).join(" ");
    document.getElementById("where-pairs").textContent = pairs ? `--where '${pairs}' --save-selection NAME` : "every slider is off";
    document.getElementById("where-samples").textContent = where ? `--set 'data.where=${where}'` : "nothing to say: mean baseline and valid share are off";
    document.getElementById("settings").textContent = settings;
    const words = document.getElementById("where-count");
    if (!samples) { words.textContent = ""; return; }
    let passing = 0;
    for (let i = 0; i < sweep.sample_count; i++) if (own.every((slider) => samples[slider.samples][i] >= limit(slider))) passing++;
    words.replaceChildren(html("span", { id: "count-where", "data-value": passing }, passing.toLocaleString("en")), ` of ${sweep.sample_count.toLocaleString("en")} samples pass it.`);
  }

  function bins(values, edges, mask) {
    const counts = new Array(edges.length - 1).fill(0), low = edges[0], width = (edges[edges.length - 1] - low) / counts.length;
    for (let i = 0; i < count; i++) if (mask(i) && values[i] === values[i]) counts[Math.min(counts.length - 1, Math.max(0, Math.floor((values[i] - low) / width)))]++;
    return counts;
  }

  function histograms({ misses }) {
    const place = document.getElementById("histograms");
    const figures = data.distributions.map((item) => {
      const values = columns[item.column], slider = sliders.find((one) => one.column === item.column);
      const passing = bins(values, item.edges, (i) => misses[i] === 0), staying = bins(values, item.edges, (i) => misses[i] === 0 && kept[i]);
      const unit = item.unit ? `, ${item.unit}` : "", median = item.kept_percentiles["50"];
      const middle = median === undefined ? "No pair is kept." : `Median of kept pairs: ${short(median)} ${item.unit}`.trim() + ".";
      return Charts.histogram({
        title: item.label, label: item.label + unit, edges: item.edges,
        summary: `Grey: all pairs tried. Orange: pass now. Blue: kept and pass now. ${middle}`,
        layers: [{ name: "tried", counts: bins(values, item.edges, () => true), fill: "#dcdcdc", outline: "#8a8a8a" },
          { name: "pass now", counts: passing, fill: "#e69f00", outline: "#8a5f00" }, { name: "kept and pass now", counts: staying, fill: "#0072b2" }],
        threshold: slider && isOn(slider) ? Math.min(limit(slider), item.edges[item.edges.length - 1]) : null,
        words: slider && isOn(slider) ? `${slider.side} ${short(limit(slider))}` : "",
      });
    });
    keepOpen(place, figures);
  }

  /* What is left as one threshold moves and all others stay. */
  function curve({ misses, last }) {
    const slider = sliders[Number(document.getElementById("curve-of").value)];
    const values = columns[slider.column], steps = 60, all = new Array(steps).fill(0), own = new Array(steps).fill(0);
    const scale = slider.scales ? focal : 1, width = slider.max / steps;
    const xs = Array.from({ length: steps + 1 }, (_, at) => at * width);
    let always = 0, alwaysOwn = 0;
    for (let i = 0; i < count; i++) {
      if (misses[i] > 1 || (misses[i] === 1 && last[i] !== slider.at)) continue;
      if (values[i] !== values[i]) { if (slider.keeps_unknown) { always++; alwaysOwn += kept[i]; } continue; }
      const at = Math.min(steps - 1, Math.max(0, slider.side === ">=" ? Math.floor((values[i] * scale) / width) : Math.ceil((values[i] * scale) / width) - 1));
      all[at]++;
      if (kept[i]) own[at]++;
    }
    const sum = (counts, unknown) => {
      const left = new Array(steps + 1).fill(unknown);
      if (slider.side === ">=") for (let at = steps - 1; at >= 0; at--) left[at] = left[at + 1] + counts[at];
      else for (let at = 0; at < steps; at++) left[at + 1] = left[at] + counts[at];
      return left;
    };
    keepOpen(document.getElementById("curve"), [Charts.curve({
      title: `Pairs left, by “${slider.label}”`, label: slider.unit || slider.column, xs, summary: "Blue line: kept pairs. Orange dashes: all pairs that pass.",
      lines: [{ name: "kept pairs", ys: sum(own, alwaysOwn), stroke: "#0072b2" }, { name: "all that pass", ys: sum(all, always), stroke: "#d55e00", dash: "7 4" }],
      threshold: Math.min(slider.value, slider.max), words: isOn(slider) ? `now ${short(slider.value)}` : "off",
    })]);
  }

  function keepOpen(place, figures) {
    const open = Array.from(place.querySelectorAll("details"), (details) => details.open);
    place.replaceChildren(...figures);
    place.querySelectorAll("details").forEach((details, at) => { details.open = Boolean(open[at]); });
  }

  const number = (card, column) => Number.parseFloat(card.getAttribute(`data-${column.replaceAll("_", "-")}`));
  function cards() {
    const place = document.getElementById("cards");
    if (!place) return;
    const by = document.getElementById("sort-by").value, down = document.getElementById("sort-down").checked ? -1 : 1;
    const kind = document.getElementById("show-kind").value, now = document.getElementById("show-now").value;
    const all = Array.from(place.children);
    for (const card of all) {
      const missed = sliders.filter((slider) => !holds(slider, number(card, slider.column)));
      card.querySelector(".now").textContent = missed.length ? `does not pass now: ${missed.map((slider) => `${slider.label} ${short(limit(slider))} ${slider.unit}`.trim()).join("; ")}` : "passes now";
      card.hidden = Boolean((kind && card.dataset.kind !== kind) || (now === "yes" && missed.length) || (now === "no" && !missed.length));
    }
    if (by) {
      const known = (card) => (Number.isNaN(number(card, by)) ? Infinity : down * number(card, by));
      place.append(...all.sort((a, b) => known(a) - known(b)));
    } else place.append(...all.sort((a, b) => order.get(a.id) - order.get(b.id)));
  }
  const order = new Map(Array.from(document.querySelectorAll(".card"), (card, at) => [card.id, at]));

  let waiting = false;
  function update() {
    waiting = false;
    const judged = judge(), found = tally(judged);
    showCounts(found);
    commands();
    histograms(judged);
    curve(judged);
    cards();
    return found;
  }
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(update); } };

  function addSlider(place, id, words, { max, step, value }, note, changed) {
    const box = html("div", { class: "slider" }), label = html("label", { for: id }, words);
    const range = html("input", { type: "range", id, min: 0, max, step, value }), exact = html("input", { type: "number", id: `${id}-exact`, min: 0, step: "any", "aria-label": `${words}, exact` });
    range.value = value;
    exact.value = value;
    range.addEventListener("input", () => { exact.value = range.value; changed(Number(range.value)); soon(); });
    exact.addEventListener("input", () => { if (exact.value !== "") { range.value = exact.value; changed(Number(exact.value)); soon(); } });
    box.append(label, range, exact, html("small", { id: `${id}-alone` }, note));
    place.append(box);
  }

  function build() {
    const place = document.getElementById("sliders"), select = document.getElementById("curve-of");
    for (const slider of sliders) {
      const words = slider.unit ? `${slider.label}, ${slider.unit}` : slider.label;
      addSlider(place, slider.id, words, { max: slider.max, step: slider.step, value: slider.start }, "", (value) => { slider.value = value; select.value = slider.at; });
      select.append(html("option", { value: slider.at }, slider.label));
    }
    addSlider(place, "slider-focal", "If the focal length were this many times the assumed one", { max: 4, step: 0.05, value: 1 }, "metres scale with it; the commands are in the dataset's metres", (value) => { focal = value > 0 ? value : 1; });
    const again = html("button", { type: "button", id: "again" }, "Back to the dataset's thresholds");
    again.addEventListener("click", () => {
      focal = 1;
      for (const [id, value] of [...sliders.map((slider) => [slider.id, (slider.value = slider.start)]), ["slider-focal", 1]]) {
        document.getElementById(id).value = value;
        document.getElementById(`${id}-exact`).value = value;
      }
      soon();
    });
    place.append(again);
    if (sweep.embedded < sweep.pairs) {
      const notice = document.getElementById("sampled");
      notice.hidden = false;
      notice.textContent = `The dataset tried ${sweep.pairs.toLocaleString("en")} pairs. To stay quick, this page holds a random sample of ${sweep.embedded.toLocaleString("en")} (seed ${sweep.seed}); counts in this section are of the sample. Exact counts: python -m pipeline audit DATASET --where EXPR.`;
    }
    select.addEventListener("change", soon);
    for (const id of ["sort-by", "sort-down", "show-kind", "show-now"]) document.getElementById(id)?.addEventListener("change", cards);
  }

  function groups() {
    const threshold = data.distributions.find((item) => item.column === "mean_baseline_m").threshold;
    for (const [id, all, words] of [["gap-charts", data.by_gap, "frame gap"], ["source-charts", data.by_source, "source"]])
      for (const [column, label] of [["mean_baseline_m", "Mean baseline, m"], ["angle_deg", "Equivalent angle, deg"], ["parallax_px", "Parallax, px of 256"], ["baseline_over_depth", "|t| / Z"]])
        document.getElementById(id).append(Charts.ranges({
          title: `${label} by ${words}`, summary: "Bar: 10 to 90 % of the pairs tried. Black tick: median.", label,
          groups: all.map((group) => ({ name: group.name, spread: group.spread[column] })),
          threshold: column === "mean_baseline_m" ? threshold : null, words: `${threshold} m`,
        }));
    const sides = document.getElementById("sides-chart");
    if (!sides || !data.sides.length) return;
    const edges = data.distributions[0].edges, colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"], dashes = ["", "7 4", "2 3", "10 3 2 3", "4 4"];
    sides.append(Charts.curve({
      title: "Kept pairs by mean baseline", label: "mean baseline, m", xs: edges.slice(0, -1), threshold, words: `${threshold} m`,
      summary: data.sides.map((side, at) => `Line ${at + 1} (${["blue", "orange dashes", "green dots", "pink dash-dots", "black"][at % 5]}): ${side.name}`).join(". "),
      lines: data.sides.map((side, at) => ({ name: side.name, ys: side.baseline_counts, stroke: colours[at % 5], dash: dashes[at % 5] })),
    }));
  }

  function sortTables() {
    for (const button of document.querySelectorAll("table.sortable .sort"))
      button.addEventListener("click", () => {
        const head = button.closest("th"), table = head.closest("table"), at = head.cellIndex;
        const down = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
        for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
        const value = (row) => row.cells[at].dataset.value;
        const compare = (a, b) => {
          const [x, y] = [value(a), value(b)];
          if (x === "" || y === "") return x === y ? 0 : x === "" ? 1 : -1;
          return down * (Number.isNaN(Number(x)) || Number.isNaN(Number(y)) ? x.localeCompare(y) : Number(x) - Number(y));
        };
        table.tBodies[0].append(...Array.from(table.tBodies[0].rows).sort(compare));
      });
  }

  build();
  groups();
  sortTables();
  update();
  return { update, sliders };
})();
