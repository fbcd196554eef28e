// Widths of a table's columns: dragged by the mouse at the right edge of a heading, kept in this browser.

const KEPT = "localserver.widths";
const LEAST = 40;
const sheet = new CSSStyleSheet();
let widths = {};

try {
  widths = JSON.parse(localStorage.getItem(KEPT)) ?? {};
} catch {
  // Nothing is kept, or the browser keeps nothing.
}

const headings = () => [...document.querySelectorAll("table.tasks thead th:not(.tick)")];
const keyOf = (heading) => heading.querySelector("a")?.title || heading.textContent.trim();

function apply() {
  const rules = [];
  for (const heading of headings()) {
    const width = Number(widths[keyOf(heading)]);
    const size = ["width", "min-width", "max-width"].map((name) => `${name}: ${width}px !important`).join("; ");
    if (width > 0) rules.push(`table.tasks tr > :nth-child(${heading.cellIndex + 1}) { ${size}; overflow: hidden; text-overflow: ellipsis; }`);
  }
  if (rules.length > 0 && !document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);
  sheet.replaceSync(rules.join("\n"));
}

function keep(heading, width) {
  if (width === null) delete widths[keyOf(heading)];
  else widths[keyOf(heading)] = Math.max(LEAST, Math.round(width));
  apply();
  try {
    localStorage.setItem(KEPT, JSON.stringify(widths));
  } catch {
    // It lasts until the page is left.
  }
}

function addGrips() {
  for (const heading of headings()) {
    if (heading.querySelector(".grip")) continue;
    const grip = Object.assign(document.createElement("span"), { className: "grip", title: "Drag: width of the column. Double click: as before" });
    grip.setAttribute("aria-hidden", "true"); // not a part of the heading's name
    grip.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const start = heading.getBoundingClientRect().width - event.clientX;
      grip.setPointerCapture(event.pointerId);
      grip.onpointermove = (move) => keep(heading, start + move.clientX);
      grip.onpointerup = grip.onpointercancel = () => (grip.onpointermove = null);
    });
    grip.addEventListener("dblclick", () => keep(heading, null));
    heading.append(grip);
  }
  apply();
}

document.addEventListener("refreshed", addGrips);
apply();
// A grip in each heading has the table laid out again: after the page has been painted.
if (document.hidden) addGrips(); // no frame comes
else requestAnimationFrame(() => setTimeout(addGrips));
