// Tells by a notification of the browser when a followed run ends, while any page of this server is open.
// Off until somebody follows a run in this browser. Looking for news changes nothing on the server.

const FOLLOWING = "localserver.following"; // whether this browser has followed a run
const TOLD = "localserver.told"; // ids of the runs whose end was told
const PAUSE_MS = 10_000;
const REFUSED =
  "The browser does not allow this page to notify you. Followed runs are listed under “Since you last looked” on the first page.";

const mayNotify = () => "Notification" in window && Notification.permission === "granted";

function told() {
  try {
    const ids = JSON.parse(localStorage.getItem(TOLD) ?? "[]");
    return Array.isArray(ids) ? ids : [];
  } catch {
    return [];
  }
}

async function look() {
  const answer = await fetch("/activity/followed", { headers: { Accept: "application/json" } });
  if (answer.redirected || !answer.ok) return; // The session is over, or the server is busy.
  const runs = await answer.json();
  if (runs.length === 0) localStorage.removeItem(FOLLOWING);
  const known = told();
  for (const run of runs) {
    if (!run.ended || known.includes(run.id)) continue;
    known.push(run.id);
    localStorage.setItem(TOLD, JSON.stringify(known));
    // Several open pages tell the same end: the tag makes one of it.
    const note = new Notification(run.name, { body: run.status, tag: run.id });
    note.addEventListener("click", () => {
      window.focus();
      location.assign(`/tasks/${encodeURIComponent(run.id)}`);
    });
  }
  // Only runs that are still followed need to be remembered.
  localStorage.setItem(TOLD, JSON.stringify(known.filter((id) => runs.some((run) => run.id === id))));
}

async function keepLooking() {
  for (;;) {
    if (localStorage.getItem(FOLLOWING) && mayNotify()) {
      try {
        await look();
      } catch {
        // The server does not answer; it is asked again.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("follow" in form.dataset)) return;
  localStorage.setItem(FOLLOWING, "1");
  if (!("Notification" in window) || Notification.permission !== "default") return;
  event.preventDefault();
  await Notification.requestPermission();
  form.submit();
});

if (document.querySelector("[data-followed]") && !mayNotify()) {
  const note = Object.assign(document.createElement("p"), { className: "notice", textContent: REFUSED });
  note.setAttribute("role", "status");
  document.querySelector(".tabs")?.before(note);
}
keepLooking();
