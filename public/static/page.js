/* Keeps the public page fresh and its times local; the page works without it. */
"use strict";
(() => {
  const POLL_MS = 30000; // plus or minus a fifth, so that readers do not come all at once
  const OLD_S = 120; // older than this "may be out of date"
  const SLOWEST_MS = 300000;
  const TIMEOUT_MS = 10000;
  const body = document.body;
  const say = body.dataset;
  let drift = 0; // server's clock minus ours
  let pause = POLL_MS;
  let revision = say.revision; // of what is shown
  let asked = false; // whether the server was asked how old it is: most pages are written on change only

  // The reader's own way to write times, when it is in the page's language.
  const lang = document.documentElement.lang;
  const locale = navigator.language.startsWith(lang) ? navigator.language : lang;
  const now = () => Date.now() + drift;
  const span = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    const m = Math.floor(s / 60);
    if (m < 60) return `${m} min`;
    const h = Math.floor(m / 60);
    if (h < 48) return `${h} h ${String(m % 60).padStart(2, "0")} min`;
    const pattern = h % 24 ? say.sayDaysHours : say.sayDays;
    return pattern.replace("{days}", Math.floor(h / 24)).replace("{hours}", h % 24);
  };

  // Making a formatter costs more than all that it formats on a page: one each for today, this year, and long ago, if needed.
  const clock = { hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  const formats = [];
  const format = (far) => {
    const day = far ? { day: "numeric", month: "short" } : {};
    return (formats[far] ??= new Intl.DateTimeFormat(locale, { ...day, ...(far > 1 ? { year: "numeric" } : {}), ...clock }));
  };

  function local(root) {
    const here = new Date(now());
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      const far = at.toDateString() === here.toDateString() ? 0 : at.getFullYear() === here.getFullYear() ? 1 : 2;
      time.textContent = format(far).format(at);
      time.tabIndex = 0; // UTC stands in its title
    }
    const zone = document.querySelector("[data-zone]");
    if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || zone.textContent;
  }

  function put(element, text) {
    if (element && element.textContent !== text) element.textContent = text;
  }

  function tick() {
    for (const one of document.querySelectorAll("[data-ago]")) put(one, span(now() - Date.parse(one.dataset.ago)));
    for (const one of document.querySelectorAll("[data-lasting]")) put(one, `(${span(now() - Date.parse(one.dataset.lasting))})`);
    for (const one of document.querySelectorAll(".promise[data-due]")) {
      const left = Date.parse(one.dataset.due) - now();
      const text = one.querySelector("[data-left]");
      const late = one.querySelector("[data-late]");
      if (left > 0 && text) put(text, text.textContent.replace(/\d.*$/, span(left)));
      if (left <= 0 && late) {
        one.classList.add("overdue");
        one.querySelector(".said").replaceChildren(...late.childNodes);
        late.remove();
        if (text) text.remove();
      }
    }
    const made = Date.parse(say.generatedAt);
    const note = document.getElementById("old");
    const old = asked && now() - made > OLD_S * 1000;
    note.hidden = !old;
    if (old) put(note, say.sayOld.replace("{age}", span(now() - made)));
  }

  async function get(url) {
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(url, { cache: "no-cache", credentials: "omit", signal: stop.signal });
      if (!answer.ok) throw new Error(answer.status);
      const date = Date.parse(answer.headers.get("Date"));
      if (date) drift = date - Date.now();
      return await answer.text();
    } finally {
      clearTimeout(late);
    }
  }

  async function refresh() {
    try {
      const told = JSON.parse(await get("/now.json"));
      if (told.revision !== revision) {
        take(new DOMParser().parseFromString(await get(location.pathname), "text/html"));
        revision = told.revision;
      }
      say.generatedAt = told.generated_at;
      if (told.checked_at) for (const one of document.querySelectorAll("[data-ago]")) one.dataset.ago = told.checked_at;
      pause = POLL_MS;
    } catch {
      pause = Math.min(pause * 2, SLOWEST_MS); // its age tells the reader
    }
    asked = true;
    tick();
    setTimeout(refresh, pause * (0.8 + Math.random() * 0.4));
  }

  /* What is being read stays where it is on the screen, whatever grows above it. */
  function reading() {
    const seen = [...document.querySelectorAll("main [id]")].find((one) => one.getBoundingClientRect().bottom > 0);
    return seen ? { id: seen.id, top: seen.getBoundingClientRect().top } : null;
  }

  function take(fresh) {
    const main = document.getElementById("main");
    const parts = (root) => [...root.querySelectorAll("[data-part]")];
    const place = window.scrollY > 0 ? reading() : null;
    const newest = (root) => root.querySelector("[data-part=incidents] .update");
    const before = newest(main)?.id;
    local(fresh);
    document.title = fresh.title;
    const there = new Map(parts(main).map((part) => [part.dataset.part, part]));
    let last = null;
    for (const part of parts(fresh)) {
      const known = there.get(part.dataset.part);
      there.delete(part.dataset.part);
      if (known) swap(known, part);
      else if (last) last.after(part);
      else main.append(part);
      last = known || part;
    }
    for (const gone of there.values()) gone.remove();
    listen(main);
    const update = newest(main);
    // The sentence on top is read out by itself; a new word about an incident is not.
    if (update && before && update.id !== before) put(document.getElementById("news"), update.querySelector(".text").textContent.trim());
    const still = place && document.getElementById(place.id);
    if (still) window.scrollBy(0, still.getBoundingClientRect().top - place.top);
  }

  const FOCUSABLE = "a, summary, rect, time, select, button";

  function swap(part, fresh) {
    const source = fresh.innerHTML;
    if (part.dataset.source === source) return;
    const open = [...part.querySelectorAll("details")].map((one) => one.open);
    const focused = [...part.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
    // The sentence stays where it is unless it changed: it is a live region, and would be read out again.
    const [was, is] = [part, fresh].map((one) => one.querySelector("[role=status]"));
    if (was && is && part.className === fresh.className && was.innerHTML === is.innerHTML) is.replaceWith(was);
    part.className = fresh.className;
    part.replaceChildren(...fresh.childNodes);
    part.dataset.source = source;
    [...part.querySelectorAll("details")].forEach((one, number) => (one.open = open[number] || false));
    if (focused >= 0) part.querySelectorAll(FOCUSABLE)[focused]?.focus({ preventScroll: true });
  }

  /* A day of the bars in words: on tap, under the pointer, or with the focus. */
  function listen(root) {
    for (const figure of root.querySelectorAll(".bars")) {
      if (figure.dataset.heard) continue;
      figure.dataset.heard = "1";
      const drawing = figure.querySelector("svg");
      const said = figure.querySelector("[data-said]");
      const rest = said.textContent;
      const show = (text) => put(said, text || rest);
      const at = (event) => {
        const box = drawing.getBoundingClientRect();
        const day = Math.min(89, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * 90)));
        const bar = [...drawing.querySelectorAll("rect")].find((one) => +one.dataset.day <= day && day < +one.dataset.day + +one.dataset.days);
        const date = new Date(`${figure.dataset.lastDay}T12:00:00Z`);
        date.setUTCDate(date.getUTCDate() - 89 + day);
        show(bar ? bar.textContent : date.toLocaleDateString(locale, { day: "numeric", month: "short", timeZone: "UTC" }));
      };
      drawing.addEventListener("pointerdown", at);
      drawing.addEventListener("pointermove", at);
      drawing.addEventListener("pointerleave", () => show());
      drawing.addEventListener("focusin", (event) => show(event.target.textContent));
      drawing.addEventListener("focusout", () => show());
    }
  }

  local(document);
  listen(document);
  tick();
  setInterval(tick, 1000);
  const isOld = Date.now() - Date.parse(say.generatedAt) > OLD_S * 1000;
  setTimeout(refresh, isOld ? 0 : POLL_MS * (0.5 + Math.random() * 0.5));
})();
