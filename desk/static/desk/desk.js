// Counts down, keeps what is typed when the server is away, listens to d, u and /. Every page works without it.
"use strict";

function tick() {
  for (const draft of document.querySelectorAll("[data-at]")) {
    const left = Math.round((Date.parse(draft.dataset.at) - Date.now()) / 1000);
    const minutes = Math.floor(left / 60);
    const two = (number) => String(number).padStart(2, "0");
    const told = minutes >= 60 ? `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min` : `${two(minutes)}:${two(left % 60)}`;
    draft.textContent = left > 0 ? `goes out by itself in ${told}` : "goes out now";
  }
}

document.addEventListener("keydown", (event) => {
  const place = { d: "declare", u: "update", "/": "search" }[event.key];
  const address = place && document.body.dataset[place];
  const isTyping = event.target.matches("input, textarea, select");
  if (!address || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  window.location.assign(address);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]") && event.target.value) event.target.form.submit();
});

// --- what is typed ---

// A form that was sent and taken leaves nothing behind; one that came back refused does.
const sent = sessionStorage.getItem("desk:sent");
if (sent) {
  sessionStorage.removeItem("desk:sent");
  if (document.querySelector(".said.success")) localStorage.removeItem(`desk:${sent}`);
}

const words = document.querySelector("form[data-place]");
const RETRY_MS = 3000;
let retry = 0;

function fields() {
  const found = {};
  for (const field of words.elements) {
    if (!field.name || field.name.startsWith("_") || field.name === "csrfmiddlewaretoken" || field.type === "submit") continue;
    found[field.name] = field.type === "checkbox" ? field.checked : field.value;
  }
  return found;
}

function keptHere() {
  try {
    return JSON.parse(localStorage.getItem(`desk:${words.dataset.place}`));
  } catch {
    return null;
  }
}

// Only what the server has not taken lies here; it is removed as soon as the server has it.
function keepHere() {
  try {
    localStorage.setItem(`desk:${words.dataset.place}`, JSON.stringify({ at: Date.now(), fields: fields() }));
  } catch { /* a full or forbidden store: the server still keeps it */ }
}

function say(text, isBad) {
  const line = document.getElementById("keeping");
  if (line) {
    line.textContent = text;
    line.className = isBad ? "overdue" : "quiet";
  }
}

function again() {
  clearTimeout(retry);
  retry = setTimeout(() => window.htmx && window.htmx.trigger(words, "change"), RETRY_MS);
}

if (words) {
  const kept = keptHere();
  if (kept && kept.at / 1000 > Number(words.dataset.saved || 0)) {
    for (const [name, value] of Object.entries(kept.fields)) {
      const field = words.elements[name];
      if (!field || name === "key" || name === "seen" || !("value" in field)) continue;
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    say("What you typed while the server was away is here again.", false);
  }
  words.addEventListener("submit", () => sessionStorage.setItem("desk:sent", words.dataset.place));
  words.addEventListener("input", keepHere);
  document.body.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt !== words) return;
    if (event.detail.successful) {
      clearTimeout(retry);
      localStorage.removeItem(`desk:${words.dataset.place}`);
      say("Kept as you type.", false);
      return;
    }
    keepHere();
    const status = event.detail.xhr.status;
    if (status === 401 || status === 403) say("You are not logged in any more. What you typed is kept in this browser; press publish or load the page again to log in.", true);
    else {
      say("The server does not answer. What you typed is kept in this browser; trying again.", true);
      again();
    }
  });
}

// --- what is live ---

// Nothing moves under a finger or a keyboard: a part in use stands still until it is left.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  const part = event.detail.target;
  const used = document.activeElement;
  if (part.matches("[hx-get]") && used !== document.body && part.contains(used)) event.detail.shouldSwap = false;
});

// What is new is said once, not every two seconds.
const teller = document.getElementById("tell");
let toldOf = null;
function tell() {
  const drafts = document.querySelectorAll("#live .draft").length;
  const open = document.querySelectorAll("#live .open").length;
  const now = `${drafts} waiting, ${open} open`;
  if (toldOf !== null && toldOf !== now) teller.textContent = now;
  toldOf = now;
}
if (teller) {
  tell();
  document.body.addEventListener("htmx:afterSwap", tell);
}

setInterval(tick, 1000);
tick();
