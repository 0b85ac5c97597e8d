/* Keeps the public page fresh and its times local; the page works without it. */
"use strict";
(() => {
  const POLL_MS = 30000; // plus or minus a fifth, so that readers do not come all at once
  const OLD_S = 120; // contract: older than this "may be out of date"
  const SLOWEST_MS = 300000;
  let drift = 0; // server's clock minus ours
  let pause = POLL_MS;

  const now = () => Date.now() + drift;
  const span = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    const m = Math.floor(s / 60);
    if (m < 60) return `${m} min`;
    return `${Math.floor(m / 60)} h ${String(m % 60).padStart(2, "0")} min`;
  };
  const sameDay = (a, b) => a.toDateString() === b.toDateString();

  function local(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      const clock = { hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
      const day = sameDay(at, new Date(now())) ? {} : { day: "numeric", month: "short" };
      if (day.day && at.getFullYear() !== new Date().getFullYear()) day.year = "numeric";
      time.textContent = new Intl.DateTimeFormat(undefined, { ...day, ...clock }).format(at);
      time.tabIndex = 0; // UTC stands in its title
    }
    const zone = document.querySelector("[data-zone]");
    if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "your own zone";
  }

  function tick() {
    for (const one of document.querySelectorAll("[data-ago]")) one.textContent = span(now() - Date.parse(one.dataset.ago));
    for (const one of document.querySelectorAll(".promise[data-due]")) {
      const left = Date.parse(one.dataset.due) - now();
      const text = one.querySelector("[data-left]");
      if (left > 0 && text) text.textContent = `· in ${span(left)}`;
      if (left <= 0 && text) {
        one.classList.add("overdue");
        one.firstChild.textContent = "The next update is overdue since ";
        text.remove();
      }
    }
    const made = Date.parse(document.body.dataset.generatedAt);
    const note = document.getElementById("old");
    const old = "refresh" in document.body.dataset && now() - made > OLD_S * 1000;
    note.hidden = !old;
    if (old) {
      const text = `This page may be out of date: it is ${span(now() - made)} old.`;
      if (note.textContent !== text) note.textContent = text;
    }
  }

  async function refresh() {
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(), 10000);
    try {
      const answer = await fetch(location.pathname, { cache: "no-cache", credentials: "omit", signal: stop.signal });
      if (!answer.ok) throw new Error(answer.status);
      const date = Date.parse(answer.headers.get("Date"));
      if (date) drift = date - Date.now();
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      pause = POLL_MS;
    } catch {
      pause = Math.min(pause * 2, SLOWEST_MS); // its age tells the reader
    } finally {
      clearTimeout(late);
    }
    tick();
    setTimeout(refresh, pause * (0.8 + Math.random() * 0.4));
  }

  function take(fresh) {
    const main = document.getElementById("main");
    const parts = (root) => [...root.querySelectorAll("[data-part]")];
    const names = (root) => parts(root).map((part) => part.dataset.part).join();
    local(fresh);
    document.body.dataset.generatedAt = fresh.body.dataset.generatedAt;
    document.title = fresh.title;
    if (names(main) !== names(fresh)) {
      const note = document.getElementById("old");
      main.replaceChildren(note, ...parts(fresh));
    } else {
      parts(main).forEach((part, number) => swap(part, parts(fresh)[number]));
    }
    listen(main);
  }

  function swap(part, fresh) {
    if (part.dataset.source === fresh.innerHTML || part.contains(document.activeElement)) return;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    const source = fresh.innerHTML;
    // The sentence stays where it is unless it changed: it is a live region, and would be read out again.
    const [was, is] = [part, fresh].map((one) => one.querySelector("[role=status]"));
    if (was && is && part.className === fresh.className && was.innerHTML === is.innerHTML) is.replaceWith(was);
    part.className = fresh.className;
    part.replaceChildren(...fresh.childNodes);
    part.dataset.source = source;
    [...part.querySelectorAll("details")].forEach((one, number) => (one.open = open[number] || false));
  }

  /* A day of the bars in words: on tap, or with the arrow keys. */
  function listen(root) {
    for (const figure of root.querySelectorAll(".bars")) {
      if (figure.dataset.heard) continue;
      figure.dataset.heard = "1";
      const drawing = figure.querySelector("svg");
      const said = figure.querySelector("[data-said]");
      const rest = said.textContent;
      let day = 89;
      const say = (number) => {
        day = Math.min(89, Math.max(0, number));
        const at = new Date(`${figure.dataset.lastDay}T12:00:00Z`);
        at.setUTCDate(at.getUTCDate() - 89 + day);
        const bar = drawing.querySelector(`[data-day="${day}"]`);
        const name = at.toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "short", timeZone: "UTC" });
        drawing.querySelector(".chosen")?.classList.remove("chosen");
        bar?.classList.add("chosen");
        said.setAttribute("aria-live", "polite");
        said.textContent = bar ? bar.textContent : `${name}: no trouble recorded`;
      };
      const at = (event) => {
        const box = drawing.getBoundingClientRect();
        say(Math.floor(((event.clientX - box.left) / box.width) * 90));
      };
      drawing.addEventListener("pointerdown", at);
      drawing.addEventListener("pointermove", at);
      drawing.addEventListener("pointerleave", () => (said.textContent = rest));
      drawing.addEventListener("focus", () => say(day));
      drawing.addEventListener("blur", () => (said.textContent = rest));
      drawing.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, Home: -90, End: 90 }[event.key];
        if (step) { event.preventDefault(); say(day + step); }
      });
    }
  }

  local(document);
  listen(document);
  tick();
  setInterval(tick, 1000);
  if ("refresh" in document.body.dataset) setTimeout(refresh, POLL_MS * (0.5 + Math.random() * 0.5));
})();
