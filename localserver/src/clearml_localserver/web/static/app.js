// What all pages do: keep live parts fresh, tell times in the reader's words and zone, ask before actions.

const PAUSE_MS = 2000;
const SLOWEST_MS = 15000;
const PASSING = ["notice", "undo", "changed"]; // names of an address that mean one visit only

document.documentElement.classList.add("scripted");

// ---- times -------------------------------------------------------------------------------------------------------

function duration(seconds) {
  // The same words as text.duration on the server.
  seconds = Math.max(0, seconds);
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function ago(seconds) {
  // The same words as text.ago on the server.
  if (seconds < 5) return "just now";
  for (const [size, unit] of [[86400 * 365, "y"], [86400 * 30, "mo"], [86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${Math.floor(seconds)} s ago`;
}

let offset = 0; // The server's clock minus ours, in ms.

let full = null; // Made once: it takes longer than all that it writes for a page.

function inFull(at) {
  full ??= new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return full.format(at);
}

function tellTimes(root, titles = true) {
  for (const element of root.querySelectorAll("time[data-ago], time[data-since]")) {
    const at = new Date(element.dateTime);
    const seconds = (Date.now() + offset - at) / 1000;
    const words = "since" in element.dataset ? duration(seconds) : ago(seconds);
    if (element.textContent !== words) element.textContent = words;
    if (titles && !element.dataset.local) {
      element.dataset.local = "1";
      element.title = element.title.replace(/\d{4}-.* UTC$/, inFull(at));
    }
  }
  for (const element of root.querySelectorAll("time[data-at]:not([data-local])")) {
    element.dataset.local = "1";
    element.textContent = inFull(new Date(element.dateTime));
  }
}

// ---- live parts --------------------------------------------------------------------------------------------------

const parts = [...document.querySelectorAll("[data-live]")];
const shown = new Map(); // element → the HTML it was last made from, times left out

function lasting(html) {
  // What a part says, without the words of its times: those tick here.
  return html.replace(/(<time[^>]*>)[^<]*/g, "$1");
}

function busy(element) {
  // The part is in use: a menu is open, text is being selected or typed, a key or a button of the mouse is held. What is
  // replaced between the two ends of a click is not clicked.
  const selection = getSelection();
  const used = "details.menu[open], input:not([type=checkbox]):focus, select:focus, textarea:focus, :active";
  return (
    element.querySelector(used) !== null ||
    (selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode))
  );
}

function recognised(element) {
  // The selector that finds a link or a box again after its part was replaced.
  for (const name of ["href", "value"]) {
    if (element.hasAttribute(name)) return `[${name}="${CSS.escape(element.getAttribute(name))}"]`;
  }
  return null;
}

function replace(element, html) {
  // Tells whether the part is as it should be: one that is in use is replaced later.
  const key = lasting(html);
  if (shown.get(element) === key) return true;
  if (busy(element)) return false;
  shown.set(element, key);
  const open = [...element.querySelectorAll("details[open][id]")].map((item) => item.id);
  const focused = element.contains(document.activeElement) ? recognised(document.activeElement) : null;
  const scrolled = [...element.querySelectorAll(".table, .drawing, pre")].map((item) => [item.scrollLeft, item.scrollTop]);
  element.innerHTML = html;
  for (const id of open) element.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  if (focused) element.querySelector(focused)?.focus({ preventScroll: true });
  element.querySelectorAll(".table, .drawing, pre").forEach((item, i) => {
    if (scrolled[i]) [item.scrollLeft, item.scrollTop] = scrolled[i];
  });
  tellTimes(element);
  watchTables(element);
  return true;
}

// A wide graph shows the node that the page is about.
for (const drawing of document.querySelectorAll(".drawing")) {
  const node = drawing.querySelector(".current, .s-running, .s-failed");
  if (!node) continue;
  const [box, frame] = [node.getBoundingClientRect(), drawing.getBoundingClientRect()];
  drawing.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
  drawing.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
}

// Of tabs that do not fit, the active one is shown.
for (const tab of document.querySelectorAll(".tabs [aria-current], .top nav [aria-current]")) {
  const row = tab.parentElement;
  row.scrollLeft += tab.getBoundingClientRect().left + tab.offsetWidth / 2 - row.getBoundingClientRect().left - row.clientWidth / 2;
}

// A table that is wider than its place can be scrolled by keys: it is a stop of the Tab key. One that fits is none.
const sizes = new ResizeObserver((entries) => {
  for (const box of new Set(entries.map((entry) => entry.target.closest(".table")))) {
    if (box && box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box?.removeAttribute("tabindex");
  }
});

function watchTables(root) {
  for (const item of root.querySelectorAll(".table, .table > table")) sizes.observe(item);
}

async function refresh() {
  const address = new URL(location.href);
  address.hash = "";
  for (const name of PASSING) address.searchParams.delete(name);
  address.searchParams.set("_part", parts.map((element) => element.dataset.live).join(","));
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  if (answer.redirected || answer.status === 404) {
    location.reload(); // The session is over, or what the page shows has been deleted.
    return false;
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { parts: blocks, live } = await answer.json();
  const left = parts.filter((element) => element.dataset.live in blocks && !replace(element, blocks[element.dataset.live]));
  return live || left.length > 0;
}

async function keepFresh() {
  const offline = document.querySelector(".offline");
  let pause = PAUSE_MS;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    try {
      const live = await refresh();
      offline.hidden = true;
      pause = PAUSE_MS;
      document.dispatchEvent(new CustomEvent("refreshed", { detail: { live } }));
      if (!live) return;
    } catch {
      offline.hidden = pause === PAUSE_MS; // One failure may be a hiccup.
      pause = Math.min(pause * 2, SLOWEST_MS);
    }
  }
}

// ---- actions -----------------------------------------------------------------------------------------------------

async function ask(link) {
  const address = new URL(link.href);
  address.searchParams.set("_part", "form");
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const dialog = document.createElement("dialog");
  dialog.innerHTML = (await answer.json()).parts.form;
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  document.body.append(dialog);
  watchTables(dialog);
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  const link = event.target.closest("a[data-dialog]");
  if (link && plain) {
    event.preventDefault();
    link.closest("details.menu")?.removeAttribute("open");
    ask(link).catch(() => location.assign(link.href));
    return;
  }
  const risky = event.target.closest("button[data-confirm]");
  if (risky && !confirm(risky.dataset.confirm)) event.preventDefault();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach((menu) => menu.removeAttribute("open"));
  if (event.key === "/" && !event.target.closest("input, textarea, select, [contenteditable]")) {
    event.preventDefault();
    document.querySelector(".search input")?.focus();
  }
  // From one sample to the next; in what scrolls or plays, these keys have their own meaning.
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const own = event.target.closest("input, textarea, select, video, audio, [tabindex]") || event.altKey || event.ctrlKey || event.metaKey;
  if (rel && !own) document.querySelector(`.viewing a[rel=${rel}]`)?.click();
});

// ---- filters -----------------------------------------------------------------------------------------------------

for (const form of document.querySelectorAll("form[data-autosubmit]")) {
  form.addEventListener("change", () => form.requestSubmit());
  form.addEventListener("submit", () => {
    // Keeps addresses short: what is empty says nothing.
    for (const field of form.querySelectorAll("input:not([type=checkbox]), select")) field.disabled = field.value === "";
  });
}
addEventListener("pageshow", (event) => {
  for (const field of document.querySelectorAll("form[data-autosubmit] :disabled")) field.disabled = false;
  // Browsers keep what was ticked when they go back; a filter shows what the address says.
  const returned = event.persisted || performance.getEntriesByType("navigation")[0]?.type !== "navigate";
  if (returned) for (const form of document.querySelectorAll("form.filters:not([method=post]), form.condition")) form.reset();
});

for (const input of document.querySelectorAll("[data-filter-for]")) {
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of document.querySelectorAll(`#${input.dataset.filterFor} [data-filter]`)) row.hidden = !row.dataset.filter.includes(wanted);
  });
}

// ---- start -------------------------------------------------------------------------------------------------------

// A reload must not say again what was done before it.
const here = new URL(location.href);
if (here.searchParams.has("notice")) {
  for (const name of PASSING) here.searchParams.delete(name);
  history.replaceState(null, "", here);
}
setTimeout(() => document.querySelector("main > .notice")?.remove(), 8000);
offset = Number(document.body.dataset.now || Date.now()) - Date.now();
if (Math.abs(offset) < 3000) offset = 0;
tellTimes(document, false);

// What nobody sees at first waits until the page has been painted.
function begin() {
  watchTables(document);
  for (const element of parts) shown.set(element, lasting(element.innerHTML));
  tellTimes(document);
  setInterval(() => document.hidden || tellTimes(document), 1000);
  if (document.body.dataset.livePage === "1" && parts.length > 0) keepFresh();
}
if (document.hidden) begin(); // no frame comes
else requestAnimationFrame(() => setTimeout(begin));
