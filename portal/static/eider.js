/* What pages do beyond links and forms: menus close, dialogs open, text is copied. Everything works without it.
   It is there before the page is, for no button that is seen may do nothing. */
"use strict";

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  if (!target) return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  const opener = target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens)?.showModal();
  if (target.closest("[data-closes]")) target.closest("dialog")?.close();
  const copier = target.closest("[data-copy]");
  if (copier) {
    navigator.clipboard.writeText(copier.dataset.copy).then(() => {
      const before = copier.textContent;
      copier.textContent = copier.dataset.done;
      setTimeout(() => { copier.textContent = before; }, 1500);
    });
  }
});

/* On phones the navigation is a row: the page that one is on is seen in it. */
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
});

/* Times come in UTC, and are shown in the zone of whoever reads them; pointing at one tells UTC. */
function showTimes() {
  const local = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
  for (const one of document.querySelectorAll("time[datetime]:not([title])")) {
    one.title = one.textContent;
    one.textContent = local.format(new Date(one.dateTime));
  }
}

document.addEventListener("DOMContentLoaded", showTimes);
document.addEventListener("htmx:afterSettle", showTimes);

/* Times that are entered are shown in that zone too, and sent in UTC. */
const ENTERED = "input[type=datetime-local]";
const shifted = (at, minutes) => new Date(at.getTime() - minutes * 60000).toISOString().slice(0, 16);

document.addEventListener("DOMContentLoaded", () => {
  for (const input of document.querySelectorAll(ENTERED)) {
    const at = new Date(`${input.value}Z`);
    if (input.value) input.value = shifted(at, at.getTimezoneOffset());
  }
  for (const said of document.querySelectorAll("[data-in-utc]")) said.hidden = true;
});

document.addEventListener("formdata", (event) => {
  for (const input of event.target.querySelectorAll(ENTERED)) {
    if (input.value) event.formData.set(input.name, shifted(new Date(input.value), 0));
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("htmx:configRequest", (event) => {
  const token = document.querySelector('input[name="csrf_token"]');
  if (token) event.detail.headers["X-CSRFToken"] = token.value;
});

/* Long work: a place with data-progress reads that stream, shows the numbers, and gets what is new when that changes. */
const RETRY_MS = 10000;
const followed = new Map();

function renew(place) {
  if (!place.isConnected) return;
  if (place.hasAttribute("hx-get")) htmx.trigger(place, "news");
  else window.location.reload();
}

function follow(place) {
  const source = new EventSource(place.dataset.progress);
  followed.set(place, source);
  source.addEventListener("message", (event) => {
    const told = JSON.parse(event.data);
    if (told.total) {
      place.querySelector("progress").value = told.done;
      place.querySelector("[role=status]").textContent = `${told.done} / ${told.total}`;
      for (const one of place.querySelectorAll("[data-step]")) one.hidden = Number(one.dataset.step) > told.done;
      for (const one of place.querySelectorAll("[data-waits]")) one.hidden = Number(one.dataset.waits) <= told.done;
    }
    if (told.ended) source.close();
    if (told.ended || told.version !== (place.dataset.version ?? "")) renew(place);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => renew(place), RETRY_MS);
  });
}

function followAll() {
  for (const [place, source] of followed) {
    if (!place.isConnected) { source.close(); followed.delete(place); }
  }
  for (const place of document.querySelectorAll("[data-progress]")) {
    if (!followed.has(place)) follow(place);
  }
}

document.addEventListener("DOMContentLoaded", followAll);
document.addEventListener("htmx:afterSettle", followAll);
