// The console: a window on a log of any length. Earlier and later lines come when they are scrolled to, a search goes
// over all of it on the server, and the end is followed while the task runs.

const PAUSE_MS = 1500;
const TYPING_MS = 300;
const NEAR_PX = 400; // So near to an edge, the lines beyond it are fetched.
const ENOUGH_FOUND = 1000; // A search goes on by itself until there are so many lines.
const MOST_ROWS = 6000; // More rows than these are taken out at the other end.

const frame = document.getElementById("console");
const lines = document.getElementById("console-lines");
const earlier = document.getElementById("console-earlier");
const later = document.getElementById("console-later");
const empty = document.getElementById("console-empty");
const find = document.getElementById("console-find");
const follow = document.getElementById("console-follow");
const wrap = document.getElementById("console-wrap");
const times = document.getElementById("console-times");
const count = document.getElementById("console-count");

const known = new Set();
let first = frame.dataset.first === "1"; // The window begins at the first line.
let last = frame.dataset.last === "1"; // It ends at the last one.
let wanted = frame.dataset.wanted;
let searchedTo = Number(frame.dataset.searchedTo) || null;
let busy = false;
let turn = 0; // Counts the views: an answer for an earlier one comes too late.

const rows = () => lines.getElementsByClassName("ln");
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium", hour12: false });
const timeOf = (row) => format.format(new Date(Number(row.dataset.at)));

function make(line) {
  const row = document.createElement("div");
  row.className = "ln" + (line.level ? ` l-${line.level}` : "");
  row.id = `L${line.key}`;
  row.dataset.at = line.at;
  row.innerHTML = line.html; // Made by the server: escaped text, known classes, links.
  const link = document.createElement("a");
  link.className = "to";
  link.href = `${frame.dataset.page}?at=${line.at}#L${line.key}`;
  link.setAttribute("aria-label", "Link to this line");
  if (!wanted) link.tabIndex = -1;
  row.prepend(link);
  dress(row);
  return row;
}

function dress(row) {
  if (times.checked) row.dataset.time = timeOf(row);
  else delete row.dataset.time;
}

function fresh(list) {
  return list.filter((line) => !known.has(line.key) && known.add(line.key));
}

function block(list) {
  const fragment = document.createDocumentFragment();
  for (const line of fresh(list)) fragment.append(make(line));
  return fragment;
}

function tell() {
  const shown = rows().length;
  const number = `${shown.toLocaleString()} ${shown === 1 ? "line" : "lines"}`;
  if (wanted) count.textContent = `${number} found${searchedTo ? ", searched back to " + new Date(searchedTo).toLocaleString() : ""}`;
  else if (first && last) count.textContent = number;
  else count.textContent = `${number} shown`;
  empty.hidden = shown > 0 || (wanted !== "" && searchedTo !== null);
  empty.textContent = wanted ? "No line has this text." : "Nothing was printed yet.";
  earlier.hidden = wanted ? searchedTo === null : first || shown === 0;
  earlier.firstElementChild.textContent = wanted ? "Search earlier lines" : "Earlier lines";
  later.hidden = wanted !== "" || last || shown === 0;
}

function toEnd() {
  if (follow.checked) lines.scrollTop = lines.scrollHeight;
}

function clear() {
  for (const row of [...rows()]) row.remove();
  known.clear();
}

function trim(atStart) {
  // Keeps the page quick; what is taken out is fetched again when it is scrolled to.
  const all = rows();
  if (all.length <= MOST_ROWS || wanted) return;
  const surplus = [...all].slice(...(atStart ? [0, all.length - MOST_ROWS] : [MOST_ROWS]));
  // Lines of one moment go together: the next piece begins after a moment.
  const edge = atStart ? all[all.length - MOST_ROWS].dataset.at : all[MOST_ROWS - 1].dataset.at;
  for (const row of surplus) {
    if (row.dataset.at === edge) continue;
    known.delete(row.id.slice(1));
    row.remove();
  }
  if (atStart) first = false;
  else last = false;
}

async function load(query) {
  const answer = await fetch(`${frame.dataset.lines}?${query}`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function loadEarlier() {
  if (busy || first || wanted || rows().length === 0) return;
  busy = true;
  const mine = turn;
  try {
    const found = await load(`before=${rows()[0].dataset.at}`);
    if (mine !== turn) return;
    const [height, top] = [lines.scrollHeight, lines.scrollTop];
    earlier.after(block(found.lines));
    first = found.first;
    tell();
    lines.scrollTop = top + lines.scrollHeight - height;
    trim(false);
    tell();
  } finally {
    busy = false;
  }
}

async function loadLater() {
  if (busy || last || wanted || rows().length === 0) return;
  busy = true;
  const mine = turn;
  try {
    const all = rows();
    const found = await load(`since=${all[all.length - 1].dataset.at}`);
    if (mine !== turn) return;
    later.before(block(found.lines));
    last = found.last;
    const [height, top] = [lines.scrollHeight, lines.scrollTop];
    trim(true);
    tell();
    lines.scrollTop = top + lines.scrollHeight - height;
  } finally {
    busy = false;
  }
}

async function show(query, address) {
  // Another view of the same log: its start, its end.
  const mine = (turn += 1);
  const found = await load(query);
  if (mine !== turn) return false;
  [wanted, searchedTo, find.value] = ["", null, ""];
  clear();
  later.before(block(found.lines));
  [first, last] = [found.first, found.last];
  history.replaceState(null, "", address);
  tell();
  return true;
}

async function search() {
  const text = find.value.trim();
  if (text === wanted) return;
  if (text === "") return showEnd();
  const mine = (turn += 1);
  [wanted, searchedTo, first, last] = [text, null, false, false];
  history.replaceState(null, "", `${frame.dataset.page}?q=${encodeURIComponent(text)}`);
  clear();
  count.textContent = "Searching…";
  await searchOn(mine, "");
  toEnd();
  await searchAll(mine);
}

async function searchAll(mine) {
  // The first answer has what is soon found.
  while (mine === turn && searchedTo !== null && rows().length < ENOUGH_FOUND) await searchOn(mine, `&before=${searchedTo}`);
}

async function searchOn(mine, before) {
  const found = await load(`q=${encodeURIComponent(wanted)}${before}`);
  if (mine !== turn) return;
  const [height, top] = [lines.scrollHeight, lines.scrollTop];
  earlier.after(block(found.lines));
  searchedTo = found.searched_to;
  tell();
  if (before) lines.scrollTop = top + lines.scrollHeight - height;
}

const showEnd = async () => {
  follow.checked = true;
  if (await show("", frame.dataset.page)) toEnd();
};
const showStart = async () => {
  follow.checked = false;
  if (await show("from=start", `${frame.dataset.page}?from=start`)) lines.scrollTop = 0;
};

function clicked(element, act) {
  element.addEventListener("click", (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    act().catch(() => location.assign(event.target.href));
  });
}

clicked(document.getElementById("console-start"), showStart);
clicked(document.getElementById("console-end"), showEnd);
clicked(earlier.firstElementChild, async () => (wanted ? searchOn(turn, `&before=${searchedTo}`) : loadEarlier()));
clicked(later.firstElementChild, loadLater);

let typing;
find.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => search().catch(() => (count.textContent = "The search failed; the server does not answer.")), TYPING_MS);
});
find.form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  search().catch(() => find.form.submit());
});
times.addEventListener("change", () => {
  for (const row of rows()) dress(row);
  toEnd();
});
wrap.addEventListener("change", () => {
  lines.classList.toggle("wrap", wrap.checked);
  toEnd();
});
follow.addEventListener("change", () => {
  if (follow.checked && !last && !wanted) showEnd().catch(() => location.assign(frame.dataset.page));
  toEnd();
});
lines.addEventListener("wheel", (event) => {
  if (event.deltaY < 0) follow.checked = false;
});
lines.addEventListener("keydown", (event) => {
  if (["ArrowUp", "PageUp", "Home"].includes(event.key)) follow.checked = false;
});
lines.addEventListener("scroll", () => {
  const below = lines.scrollHeight - lines.scrollTop - lines.clientHeight;
  if (below < 8 && last) follow.checked = true;
  else if (below > lines.clientHeight && !wanted) follow.checked = false;
  if (lines.scrollTop < NEAR_PX) loadEarlier().catch(() => {}); // The link above the lines does it as well.
  if (below < NEAR_PX) loadLater().catch(() => {});
});
new ResizeObserver(toEnd).observe(lines);

function append(list) {
  // Lines come in order but for few that were reported late: those are put where they belong.
  for (const line of list) {
    let before = later.previousElementSibling;
    while (before.classList.contains("ln") && Number(before.dataset.at) > line.at) before = before.previousElementSibling;
    before.after(make(line));
  }
}

async function keepReading() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    if (!last || wanted) continue; // What is not in view is fetched when the end is.
    const mine = turn;
    try {
      const all = rows();
      const found = await load(`after=${all.length ? all[all.length - 1].dataset.at : ""}`);
      if (mine !== turn) continue;
      const news = fresh(found.lines);
      append(news);
      if (news.length && follow.checked) trim(true);
      tell();
      if (news.length) toEnd();
      if (!found.live) return;
    } catch {
      // app.js tells when the server is away; the next look finds what was missed.
    }
  }
}

for (const row of rows()) known.add(row.id.slice(1));
tell();
if (location.hash.startsWith("#L")) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
else toEnd();
if (wanted) searchAll(turn).catch(() => {}); // The link above the lines goes on as well.
if (frame.dataset.liveConsole === "1") keepReading();
