// Draws scalars and reported figures with plotly.js, each when it comes into view, in the page's colours.

const PAUSE_MS = 4000;
const COLOURS = ["#3f6ad8", "#e0762b", "#2c9c69", "#c9405b", "#8a5cd1", "#1f9db0", "#b58a1b", "#6b7a90"];

// Only these buttons, by kind of plot: the library's own choice grows by version, with one that uploads the figure.
const IMAGE = ["toImage"];
const FLAT = [IMAGE, ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "autoScale2d"]];
const SPATIAL = [IMAGE, ["zoom3d", "pan3d", "orbitRotation"], ["resetCameraDefault3d"]];
const WITHOUT_AXES = ["pie", "sunburst", "treemap", "icicle", "funnelarea", "sankey", "parcoords", "parcats", "indicator", "table"];

export function config(data) {
  const kinds = data.map((trace) => trace.type ?? "scatter");
  const spatial = kinds.some((kind) => /3d$|^surface$|^cone$|^streamtube$|^volume$|^isosurface$/.test(kind));
  const bare = kinds.every((kind) => WITHOUT_AXES.includes(kind) || /polar|ternary|geo|map|smith|carpet/.test(kind));
  return {
    responsive: true,
    displaylogo: false,
    plotlyServerURL: "",
    modeBarButtons: spatial ? SPATIAL : bare ? [IMAGE] : FLAT,
  };
}

let library; // plotly.js, once it is asked for

export function plotly(address) {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js could not be loaded"));
    document.head.append(script);
  });
  return library;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function themed(layout) {
  // The page's colours go below the figure's own wishes, into its template.
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), tickcolor: colour("line") };
  const given = layout.template && typeof layout.template === "object" ? layout.template : {};
  const base = given.layout || {};
  const scene = { xaxis: axis, yaxis: axis, zaxis: axis };
  return {
    ...layout,
    template: {
      ...given,
      layout: {
        colorway: COLOURS,
        ...base,
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { ...base.font, color: colour("text"), family: "system-ui, sans-serif", size: 12 },
        xaxis: { ...base.xaxis, ...axis },
        yaxis: { ...base.yaxis, ...axis },
        scene: { ...base.scene, ...scene },
        modebar: { ...base.modebar, bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
        hoverlabel: { ...base.hoverlabel, bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") } },
      },
    },
  };
}

// ---- tables: plotly draws them on a canvas of fixed size; a real table can be read, searched and copied ----------

function text(cell) {
  return String(cell ?? "").replace(/<br\s*\/?>/gi, "\n");
}

function fill(cell, value) {
  // Cells may hold links as HTML; everything else is text.
  const link = /<a\s+href=["'](https?:\/\/[^"']+)["'][^>]*>(.*?)<\/a>/gi;
  const whole = text(value);
  let position = 0;
  for (const match of whole.matchAll(link)) {
    cell.append(plain(whole.slice(position, match.index)));
    const anchor = document.createElement("a");
    anchor.href = match[1];
    anchor.rel = "noopener noreferrer";
    anchor.textContent = plain(match[2]).trim();
    cell.append(anchor);
    position = match.index + match[0].length;
  }
  cell.append(plain(whole.slice(position)));
}

const plain = (value) => value.replace(/<\/?(?:b|i|em|strong|sup|sub|span)(?:\s[^>]*)?>/gi, "");

function drawTable(element, trace) {
  const heads = (trace.header?.values ?? []).map((value) => (Array.isArray(value) ? value.join(" ") : value));
  const columns = trace.cells?.values ?? [];
  const frame = document.createElement("div");
  frame.className = "table";
  const table = frame.appendChild(document.createElement("table"));
  const head = table.createTHead().insertRow();
  for (const title of heads) {
    const cell = head.appendChild(document.createElement("th"));
    cell.scope = "col";
    fill(cell, title);
  }
  const body = table.createTBody();
  const length = Math.max(0, ...columns.map((column) => column.length));
  for (let i = 0; i < length; i += 1) {
    const row = body.insertRow();
    for (const column of columns) fill(row.insertCell(), column[i]);
  }
  element.classList.add("text");
  element.replaceChildren(frame);
}

// ---- figures as reported -----------------------------------------------------------------------------------------

// A string, which may run to the end where it is not closed, or a number that only Python's JSON has.
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*(?:"|$)|-?\b(?:NaN|Infinity)\b/gs;

function readFigure(json) {
  try {
    return JSON.parse(json);
  } catch {
    return JSON.parse(json.replace(TOKEN, (token) => (token.startsWith('"') ? token : "null"))); // drawn as a hole
  }
}

function withTitles(part) {
  // Titles that are plain strings, as the SDK reports them: plotly.js 4 shows objects only.
  for (const [name, value] of Object.entries(part)) {
    if (name === "title" && typeof value === "string") part[name] = { text: value };
    else if (value !== null && typeof value === "object" && !Array.isArray(value)) withTitles(value);
  }
}

const isMap = (trace) => trace?.type === "heatmap" && Array.isArray(trace.z);
const ranges = new WeakMap(); // figures side by side → the range of their heat maps

function rangeBeside(element) {
  // Of heat maps side by side one colour is one value, or they could not be compared.
  const beside = element.closest(".beside");
  if (!beside) return null;
  if (!ranges.has(beside)) {
    let [low, high] = [Infinity, -Infinity];
    for (const other of beside.querySelectorAll("[data-figure]")) {
      try {
        const data = readFigure(document.getElementById(other.dataset.figure).textContent).data;
        for (const value of data.filter(isMap).flatMap((trace) => trace.z).flat()) {
          if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
        }
      } catch {
        // Drawing it says that it cannot be read.
      }
    }
    ranges.set(beside, low <= high ? [low, high] : null);
  }
  return ranges.get(beside);
}

async function drawFigure(element, address) {
  let figure;
  try {
    figure = readFigure(document.getElementById(element.dataset.figure).textContent);
  } catch {
    element.classList.add("text");
    element.textContent = "This figure is not valid JSON and cannot be drawn.";
    return;
  }
  const data = Array.isArray(figure.data) ? figure.data : [];
  if (data.length > 0 && data.every((trace) => trace.type === "table")) {
    if (data.some((trace) => (trace.header?.values ?? []).length > 4)) element.closest(".plot").classList.add("wide");
    for (const trace of data) drawTable(element, trace);
    return;
  }
  const maps = data.filter((trace) => isMap(trace) && trace.zmin === undefined && trace.zmax === undefined && !trace.coloraxis);
  const range = maps.length > 0 ? rangeBeside(element) : null;
  if (range) for (const trace of maps) [trace.zmin, trace.zmax] = range;
  const layout = { ...(figure.layout ?? {}) };
  // The card's heading already says it.
  if (typeof layout.title === "string" || layout.title?.text === element.closest(".plot").querySelector("h2").textContent) delete layout.title;
  // The card decides the size.
  delete layout.width;
  for (const part of [layout, ...data]) withTitles(part);
  layout.autosize = true;
  layout.height = Math.min(Number(layout.height) || 360, 900);
  layout.margin = { l: 56, r: 20, t: 48, b: 44, ...(layout.margin ?? {}) };
  // The names of parallel axes stand above and beside them.
  if (data.some((trace) => trace.type === "parcoords" || trace.type === "parcats")) {
    Object.assign(layout.margin, { t: Math.max(layout.margin.t, 72), l: Math.max(layout.margin.l, 90), r: Math.max(layout.margin.r, 80) });
  } else if (!layout.title) layout.margin.t = Math.min(layout.margin.t, 24);
  const library = await plotly(address);
  await library.newPlot(element, data, themed(layout), config(data));
}

export function whenSeen(elements, draw) {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        observer.unobserve(entry.target);
        Promise.resolve(draw(entry.target)).catch((error) => {
          entry.target.classList.add("text");
          entry.target.textContent = `This figure could not be drawn: ${error.message}`;
        });
      }
    },
    { rootMargin: "300px" },
  );
  for (const element of elements) observer.observe(element);
}

const plots = document.querySelector(".plots");
if (plots) whenSeen(plots.querySelectorAll("[data-figure]"), (element) => drawFigure(element, plots.dataset.plotly));

const known = document.getElementById("plots-news")?.dataset.known;
document.addEventListener("refreshed", () => {
  const news = document.getElementById("plots-news");
  if (news && news.dataset.known !== known) news.hidden = false;
});

// ---- scalars -----------------------------------------------------------------------------------------------------

const scalars = document.getElementById("scalars");
const cards = new Map(); // metric → its card
const curves = new Map(); // figure element → its curves
const drawn = new Set();

export function traces(name, curve, tone) {
  // A thinned curve is a mean; the band around it reaches from the lowest to the highest value behind each point.
  const line = { type: "scatter", mode: curve.x.length > 1 ? "lines" : "markers", name, x: curve.x, y: curve.y, legendgroup: name, line: { width: 1.8, color: tone } };
  if (curve.low.length === 0) return [line];
  const edge = { type: "scatter", mode: "lines", name, x: curve.x, legendgroup: name, showlegend: false, hoverinfo: "skip", line: { width: 0.6, color: `${tone}80` } };
  line.customdata = curve.x.map((_, i) => [curve.low[i], curve.high[i]]);
  line.hovertemplate = "%{y:.6~g} (%{customdata[0]:.6~g} to %{customdata[1]:.6~g})";
  return [{ ...edge, y: curve.low }, { ...edge, y: curve.high, fill: "tonexty", fillcolor: `${tone}40` }, line];
}

async function drawScalars(element) {
  const variants = curves.get(element);
  const data = Object.entries(variants).flatMap(([name, curve], i) => traces(name, curve, COLOURS[i % COLOURS.length]));
  const layout = {
    height: 320,
    margin: { l: 52, r: 14, t: 8, b: 36 },
    hovermode: "x unified",
    showlegend: Object.keys(variants).length > 1,
    legend: { orientation: "h", y: -0.16 },
    uirevision: "kept",
    xaxis: { automargin: true },
    yaxis: { automargin: true },
  };
  const library = await plotly(scalars.dataset.plotly);
  await library.react(element, data, themed(layout), config(data));
  drawn.add(element);
}

function card(metric) {
  if (!cards.has(metric)) {
    const section = document.createElement("section");
    section.className = "card plot";
    section.append(Object.assign(document.createElement("h2"), { textContent: metric }));
    const figure = section.appendChild(Object.assign(document.createElement("div"), { className: "figure" }));
    scalars.append(section);
    cards.set(metric, figure);
    return [figure, true];
  }
  return [cards.get(metric), false];
}

function showSingles(singles) {
  let section = scalars.querySelector(".singles");
  if (singles.length === 0) return;
  if (!section) {
    section = document.createElement("section");
    section.className = "card singles";
    scalars.prepend(section);
  }
  section.replaceChildren(Object.assign(document.createElement("h2"), { textContent: "Values" }));
  const list = section.appendChild(document.createElement("dl"));
  for (const single of singles) {
    const item = list.appendChild(document.createElement("div"));
    const name = single.metric === "Summary" ? single.variant : `${single.metric} ${single.variant}`;
    item.append(Object.assign(document.createElement("dt"), { textContent: name }));
    item.append(Object.assign(document.createElement("dd"), { textContent: String(Number(Number(single.value).toPrecision(6))) }));
  }
}

async function readScalars() {
  const answer = await fetch(scalars.dataset.source);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { metrics, singles, live } = await answer.json();
  scalars.querySelector("[role=status]")?.remove();
  const nothing = Object.keys(metrics).length === 0 && singles.length === 0;
  scalars.querySelector(".empty")?.remove();
  if (nothing) scalars.append(document.getElementById("scalars-empty").content.cloneNode(true));
  showSingles(singles);
  for (const [metric, variants] of Object.entries(metrics)) {
    const [figure, isNew] = card(metric);
    const before = JSON.stringify(curves.get(figure) ?? null);
    curves.set(figure, variants);
    if (isNew) whenSeen([figure], drawScalars);
    else if (drawn.has(figure) && before !== JSON.stringify(variants)) await drawScalars(figure);
  }
  return live;
}

async function keepDrawing() {
  for (;;) {
    try {
      if (!(await readScalars())) return;
    } catch (error) {
      const status = scalars.querySelector("[role=status]");
      if (status) status.textContent = `The curves could not be read: ${error.message}`;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

if (scalars) keepDrawing();

// ---- theme -------------------------------------------------------------------------------------------------------

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", async () => {
  if (!library) return;
  const { relayout } = await library;
  for (const element of document.querySelectorAll(".js-plotly-plot")) await relayout(element, { template: themed(element.layout).template });
});
