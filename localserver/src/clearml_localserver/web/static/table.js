// Selected rows of a table: how many, all of a page, kept while the live part is replaced, asked about in a dialog.

const form = document.getElementById("selected");
const chosen = new Set();

const boxes = () => [...document.querySelectorAll("input[name=ids][form=selected]")];

function tell() {
  if (!form) return; // a list too short to select from
  const count = chosen.size;
  form.querySelector(".count").textContent = count === 0 ? "none selected" : `${count} selected`;
  for (const button of form.querySelectorAll("button")) button.disabled = count < Number(button.dataset.least ?? 1);
  for (const all of document.querySelectorAll("input.all")) {
    all.hidden = false;
    all.checked = boxes().length > 0 && boxes().every((box) => box.checked);
    all.indeterminate = count > 0 && !all.checked;
  }
}

function note(box) {
  if (box.checked) chosen.add(box.value);
  else chosen.delete(box.value);
}

let last = null; // the box ticked before: Shift selects from there

document.addEventListener("change", (event) => {
  if (event.target.matches("input.all")) for (const box of boxes()) box.checked = event.target.checked;
  else if (!event.target.matches("input[name=ids]")) return;
  boxes().forEach(note);
  tell();
});

document.addEventListener("click", (event) => {
  const box = event.target;
  if (!box.matches?.("input[name=ids][form=selected]")) return;
  const all = boxes();
  const [from, to] = [all.findIndex((other) => other.value === last), all.indexOf(box)].sort((a, b) => a - b);
  if (event.shiftKey && from >= 0) for (const other of all.slice(from, to + 1)) other.checked = box.checked;
  last = box.value;
});

function restore() {
  for (const box of boxes()) box.checked = chosen.has(box.value);
  const there = new Set(boxes().map((box) => box.value));
  for (const id of chosen) if (!there.has(id)) chosen.delete(id);
  tell();
}

form?.addEventListener("submit", (event) => {
  const button = event.submitter;
  const address = new URL(button?.hasAttribute("formaction") ? button.formAction : form.action);
  for (const field of form.elements) {
    if (field.type === "hidden" && field.name !== "back") address.searchParams.set(field.name, field.value);
  }
  address.searchParams.set("ids", [...chosen].join(","));
  if (!button?.hasAttribute("data-ask")) {
    event.preventDefault();
    location.assign(address);
    return;
  }
  event.preventDefault();
  address.searchParams.set("back", form.elements.back.value);
  // The page's own dialog for links asks the question; without it, the link leads to the same question as a page.
  const link = Object.assign(document.createElement("a"), { href: address.href });
  link.dataset.dialog = "";
  document.body.append(link);
  link.click();
  link.remove();
});

document.addEventListener("refreshed", restore);
boxes().forEach(note); // what a browser has kept ticked across a reload
tell();
