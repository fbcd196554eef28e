// The console: new lines arrive at the end, earlier ones on demand; follow, filter, wrap, times.

const PAUSE_MS = 1500;

const frame = document.getElementById("console");
const lines = document.getElementById("console-lines");
const earlier = document.getElementById("console-earlier");
const find = document.getElementById("console-find");
const follow = document.getElementById("console-follow");
const wrap = document.getElementById("console-wrap");
const times = document.getElementById("console-times");
const count = document.getElementById("console-count");
const known = new Set();

const rows = () => lines.getElementsByClassName("ln");
const timeOf = (row) => new Date(Number(row.dataset.at)).toLocaleTimeString(undefined, { hour12: false });

function make(line) {
  const row = document.createElement("div");
  row.className = "ln" + (line.level ? ` l-${line.level}` : "");
  row.dataset.key = line.key;
  row.dataset.at = line.at;
  row.innerHTML = line.html; // Made by the server: escaped text, known classes, links.
  dress(row);
  return row;
}

function dress(row) {
  if (times.checked) row.dataset.time = timeOf(row);
  else delete row.dataset.time;
  row.hidden = find.value !== "" && !row.textContent.toLowerCase().includes(find.value.toLowerCase());
}

function fresh(list) {
  return list.filter((line) => !known.has(line.key) && known.add(line.key));
}

function tell() {
  const all = rows().length;
  const matching = find.value === "" ? "" : `${lines.querySelectorAll(".ln:not([hidden])").length.toLocaleString()} of `;
  count.textContent = `${matching}${all.toLocaleString()} lines${earlier.hidden ? "" : " loaded"}`;
  document.getElementById("console-empty").hidden = all > 0;
}

function toEnd() {
  if (follow.checked) lines.scrollTop = lines.scrollHeight;
}

function append(list) {
  // Lines come in order but for few that were reported late: those are put where they belong.
  for (const line of list) {
    let before = lines.lastElementChild;
    while (before.classList.contains("ln") && Number(before.dataset.at) > line.at) before = before.previousElementSibling;
    before.after(make(line));
  }
}

async function load(query) {
  const answer = await fetch(`${frame.dataset.lines}?${query}`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

earlier.addEventListener("click", async () => {
  const first = rows()[0];
  earlier.disabled = true;
  try {
    const { lines: list, more } = await load(`before=${first.dataset.at}`);
    const height = lines.scrollHeight;
    const block = document.createDocumentFragment();
    for (const line of fresh(list)) block.append(make(line));
    first.before(block);
    earlier.hidden = !more;
    tell();
    lines.scrollTop += lines.scrollHeight - height;
  } finally {
    earlier.disabled = false;
  }
});

find.addEventListener("input", () => {
  for (const row of rows()) dress(row);
  tell();
  toEnd();
});
times.addEventListener("change", () => {
  for (const row of rows()) dress(row);
});
wrap.addEventListener("change", () => lines.classList.toggle("wrap", wrap.checked));
follow.addEventListener("change", toEnd);
lines.addEventListener("wheel", (event) => {
  if (event.deltaY < 0) follow.checked = false;
});
lines.addEventListener("scroll", () => {
  if (lines.scrollHeight - lines.scrollTop - lines.clientHeight < 8) follow.checked = true;
});

async function keepReading() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    try {
      const all = rows();
      const last = all.length ? all[all.length - 1].dataset.at : "";
      const found = await load(`after=${last}`);
      const news = fresh(found.lines);
      append(news);
      tell();
      if (news.length) toEnd();
      if (!found.live) return;
    } catch {
      // app.js tells when the server is away; the next look finds what was missed.
    }
  }
}

for (const row of rows()) known.add(row.dataset.key);
tell();
toEnd();
if (frame.dataset.liveConsole === "1") keepReading();
