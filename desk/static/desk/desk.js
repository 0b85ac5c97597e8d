// Counts drafts down each second, and listens to d, u and /. The page works without it.
"use strict";

const drafts = document.querySelectorAll("[data-at]");

function tick() {
  for (const draft of drafts) {
    const left = Math.round((Date.parse(draft.dataset.at) - Date.now()) / 1000);
    const minutes = Math.floor(left / 60);
    const told = minutes >= 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
      : minutes > 0 ? `${minutes} min ${left % 60} s` : `${left} s`;
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

setInterval(tick, 1000);
