// Curves of many tasks over each other, and how their parameters and metrics relate. Colours are the server's.

import { config, plotly, themed, traces, whenSeen } from "./plots.js";

const things = [...document.querySelectorAll("#things li")].map((item) => ({
  id: item.dataset.id,
  colour: item.dataset.colour,
  name: item.querySelector(".name").textContent,
}));

// ---- curves ------------------------------------------------------------------------------------------------------

const curves = document.getElementById("curves");
const SEEN_ON_BOTH = [[0, "#3f8ae0"], [0.5, "#c78a1e"], [1, "#d8465f"]]; // the ends of Viridis vanish on a dark page

const options = document.getElementById("curve-options");
const read = new Map(); // figure element → curves by task id

function smoothed(values, weight) {
  // A moving average with exponential weights, corrected for its start; holes stay holes.
  let mean = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = mean * weight + value * (1 - weight);
    total = total * weight + (1 - weight);
    return mean / total;
  });
}

function horizontal(curve, axis) {
  if (axis === "iter") return curve.x;
  if (axis === "clock") return curve.x.map((at) => new Date(at));
  return curve.x.map((at) => (at - curve.x[0]) / 1000);
}

function overlaid(byTask) {
  const weight = Number(options.elements.smooth.value) / 100;
  return things
    .filter((thing) => thing.id in byTask)
    .flatMap((thing) => {
      const curve = byTask[thing.id];
      if (weight === 0 && things.length <= 10) {
        // Few enough to see the band of each thinned curve, so that peaks stay.
        const banded = { ...curve, x: horizontal(curve, curves.dataset.axis) };
        return traces(thing.name, banded, thing.colour).map((trace) => ({ ...trace, marker: { color: thing.colour }, hoverlabel: { namelength: 40 } }));
      }
      const shared = {
        type: "scatter",
        mode: curve.x.length > 1 ? "lines" : "markers",
        name: thing.name,
        x: horizontal(curve, curves.dataset.axis),
        marker: { color: thing.colour },
        hoverlabel: { namelength: 40 },
      };
      const drawn = { ...shared, y: weight > 0 ? smoothed(curve.y, weight) : curve.y, line: { width: 1.6, color: thing.colour } };
      if (weight === 0 || things.length > 10) return [drawn];
      return [{ ...shared, y: curve.y, line: { width: 1, color: thing.colour }, opacity: 0.25, hoverinfo: "skip" }, drawn];
    });
}

async function draw(element) {
  const titles = { iter: "iteration", time: "seconds since the first value", clock: "" };
  const layout = {
    height: 300,
    margin: { l: 52, r: 14, t: 8, b: 40 },
    hovermode: "closest",
    showlegend: false,
    uirevision: "kept",
    xaxis: { automargin: true, title: { text: titles[curves.dataset.axis] } },
    yaxis: { automargin: true, type: options.elements.log.checked ? "log" : "linear" },
  };
  const library = await plotly(curves.dataset.plotly);
  const data = overlaid(read.get(element));
  await library.react(element, data, themed(layout), config(data));
}

async function fetchAndDraw(element) {
  const card = element.closest("[data-metric]");
  const address = new URL(curves.dataset.source, location.href);
  address.searchParams.set("metric", card.dataset.metric);
  address.searchParams.set("variant", card.dataset.variant);
  address.searchParams.set("axis", curves.dataset.axis);
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const byTask = await answer.json();
  if (Object.keys(byTask).length === 0) {
    // Single values make no curve; the tab with values has them.
    card.remove();
    return;
  }
  read.set(element, byTask);
  await draw(element);
}

if (curves) {
  whenSeen(curves.querySelectorAll(".figure"), fetchAndDraw);
  // Smoothing and the vertical axis change what is drawn, not what is read: no page is asked for.
  for (const field of [options.elements.smooth, options.elements.log]) {
    field.addEventListener("change", (event) => event.stopPropagation());
    field.addEventListener("input", () => {
      const address = new URL(location.href);
      const value = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value === "0" ? "" : field.value;
      if (value) address.searchParams.set(field.name, value);
      else address.searchParams.delete(field.name);
      history.replaceState(null, "", address);
      [field.defaultValue, field.defaultChecked] = [field.value, field.checked]; // what a reset on the way back keeps
      for (const element of read.keys()) draw(element);
    });
  }
}

// ---- relations ---------------------------------------------------------------------------------------------------

const relations = document.getElementById("relations");

function numbers(values) {
  // The values as numbers if all that there are can be read so; else null.
  const found = values.map((value) => (value === null || value === "" ? null : Number(value)));
  return found.some(Number.isNaN) || found.every((value) => value === null) ? null : found;
}

function dimension(title, values) {
  const measured = numbers(values);
  if (measured) {
    const known = measured.filter((value) => value !== null);
    const spread = known.length > 0 && Math.min(...known) > 0 && Math.max(...known) / Math.min(...known) >= 100;
    if (!spread) return { label: title, values: measured };
    const steps = [...new Set(known)].sort((a, b) => a - b);
    const ticks = steps.length <= 8 ? steps : [steps[0], steps[steps.length - 1]];
    return { label: title, values: measured.map((value) => (value === null ? null : Math.log10(value))), tickvals: ticks.map(Math.log10), ticktext: ticks.map((tick) => String(Number(tick.toPrecision(3)))) };
  }
  const names = [...new Set(values.map((value) => String(value ?? "–")))].sort();
  return {
    label: title,
    values: values.map((value) => names.indexOf(String(value ?? "–"))),
    tickvals: names.map((_, i) => i),
    ticktext: names.map((name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name)),
  };
}

async function relate() {
  const { x, y, titles, tasks } = JSON.parse(document.getElementById("relations-data").textContent);
  const library = await plotly(relations.dataset.plotly);
  const column = (key) => tasks.map((task) => task.values[key] ?? null);
  if (x && y) {
    const axis = (key) => {
      const measured = numbers(column(key));
      const wide = measured && Math.min(...measured.filter((v) => v !== null)) > 0 && Math.max(...measured) / Math.min(...measured.filter((v) => v !== null)) >= 100;
      return { title: { text: titles[key] }, automargin: true, type: measured ? (wide ? "log" : "linear") : "category" };
    };
    const data = [
      {
        type: "scatter",
        mode: "markers",
        x: numbers(column(x)) ?? column(x).map((value) => String(value ?? "–")),
        y: numbers(column(y)) ?? column(y).map((value) => String(value ?? "–")),
        text: tasks.map((task) => task.name),
        hovertemplate: "%{text}<br>%{x}<br>%{y}<extra></extra>",
        marker: { size: 10, color: tasks.map((task) => task.colour) },
      },
    ];
    const layout = { height: 420, margin: { l: 60, r: 20, t: 12, b: 48 }, xaxis: axis(x), yaxis: axis(y), hovermode: "closest" };
    await library.newPlot("scatter", data, themed(layout), config(data));
  }
  const keys = Object.keys(titles);
  const parallel = document.getElementById("parallel");
  if (keys.length < 2) {
    parallel.classList.add("text");
    parallel.textContent = "These tasks differ in too little to be drawn so.";
    return;
  }
  const measured = y ? numbers(column(y)) : null;
  const line = measured ? { color: measured.map((value) => value ?? Math.min(...measured.filter((v) => v !== null))), colorscale: SEEN_ON_BOTH, showscale: true, colorbar: { title: { text: titles[y] } } } : { color: "#3f6ad8" };
  const data = [{ type: "parcoords", dimensions: keys.map((key) => dimension(titles[key], column(key))), line }];
  await library.newPlot(parallel, data, themed({ height: 420, margin: { l: 70, r: 40, t: 60, b: 30 } }), config(data));
}

if (relations) {
  relate().catch((error) => {
    const figure = document.getElementById("scatter");
    figure.classList.add("text");
    figure.textContent = `These figures could not be drawn: ${error.message}`;
  });
}
