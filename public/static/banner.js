/* <status-banner src=".../banner.json" mirrors="..." components="follow,login" lang="en" key="...">: what is wrong, inside an app.
   In ASCII, so that it is read alike whatever charset a page or a server of others names. */
"use strict";
(() => {
  const POLL_MS = 60000, SLOWEST_MS = 600000, TIMEOUT_MS = 10000;
  const SIGNS = { operational: "\u25cf", degraded: "\u25c6", partial: "\u25b2", outage: "\u25a0", maintenance: "\u25d0", unknown: "\u25cb" };
  const OF = {
    operational: "operational", degraded_performance: "degraded", partial_outage: "partial",
    major_outage: "outage", under_maintenance: "maintenance", unknown: "unknown",
  };
  const ORDER = ["operational", "maintenance", "degraded", "unknown", "partial", "outage"];
  const WORDS = {
    en: {
      operational: "working", degraded: "slow", partial: "partly working", outage: "not working",
      maintenance: "maintenance", unknown: "unknown", since: "Since", next: "Next update by", late: "The next update is overdue since",
      more: "More", age: (t) => `As of ${t}`, lost: (t) => `We cannot tell how things are: no answer since ${t}`,
      never: "We cannot tell how things are: the status page does not answer",
    },
    es: {
      operational: "funciona", degraded: "lento", partial: "funciona en parte", outage: "no funciona",
      maintenance: "mantenimiento", unknown: "desconocido", since: "Desde", next: "Pr\u00f3xima noticia antes de", late: "La pr\u00f3xima noticia se retrasa desde",
      more: "M\u00e1s", age: (t) => `A las ${t}`, lost: (t) => `No sabemos c\u00f3mo est\u00e1 el servicio: sin respuesta desde ${t}`,
      never: "No sabemos c\u00f3mo est\u00e1 el servicio: la p\u00e1gina de estado no responde",
    },
  };
  const CSS = `
    :host{display:block;font:1rem/1.45 system-ui,sans-serif}
    :host([hidden]){display:none}
    div{padding:12px 16px;border-radius:12px;border:1px solid;background:#fff;color:#1c1f23;border-color:var(--c)}
    p{margin:0}p+p{margin-top:4px}.head{font-weight:650}.head span{color:var(--c);margin-inline-end:8px}
    .quiet{font-size:.875em;color:#565d66}a{color:#0b57a4}
    [data-state=operational]{--c:#1a7f4b}[data-state=degraded]{--c:#8a5a00}[data-state=partial]{--c:#a84300}
    [data-state=outage]{--c:#b3261e}[data-state=maintenance]{--c:#1d5fbf}[data-state=unknown]{--c:#59636e;border-style:dashed}
    @media(prefers-color-scheme:dark){div{background:#1b1e22;color:#eceef0}.quiet{color:#a5adb6}a{color:#8cc0ff}
    [data-state=operational]{--c:#5cc78d}[data-state=degraded]{--c:#e3b341}[data-state=partial]{--c:#f29a5c}
    [data-state=outage]{--c:#ff8b82}[data-state=maintenance]{--c:#7fb4ff}[data-state=unknown]{--c:#a5adb6}}`;

  const text = (value) => (typeof value === "string" ? value : "");
  const list = (value) => text(value).split(/[\s,]+/).filter(Boolean);

  class StatusBanner extends HTMLElement {
    static observedAttributes = ["src", "mirrors", "components", "lang", "key"];

    connectedCallback() {
      if (!this.shadowRoot) {
        const root = this.attachShadow({ mode: "open" });
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(CSS);
        root.adoptedStyleSheets = [sheet];
        this.box = root.appendChild(document.createElement("div"));
      }
      this.pause = POLL_MS;
      this.alive = true;
      this.last = this.remembered();
      this.show();
      this.poll();
      this.ticking = setInterval(() => this.show(), 5000);
    }

    disconnectedCallback() {
      this.alive = false;
      clearTimeout(this.timer);
      clearInterval(this.ticking);
    }

    attributeChangedCallback(name, before) {
      if (!this.alive || before === null) return;
      this.disconnectedCallback();
      this.connectedCallback();
    }

    get key() { return `status-banner:${this.getAttribute("src")}`; }

    remembered() {
      try { return JSON.parse(localStorage.getItem(this.key)); } catch { return null; }
    }

    async poll() {
      const round = (this.round = {});
      let fresh = null;
      for (const url of [this.getAttribute("src"), ...list(this.getAttribute("mirrors"))]) {
        const answer = url && (await this.ask(url));
        // A mirror that has stopped answers well and says old things: take the newest of what is heard.
        if (answer && (!fresh || answer.made > fresh.made)) fresh = answer;
        if (fresh && this.isFresh(fresh)) break;
      }
      if (!this.alive || round !== this.round) return;
      if (fresh && (!this.last || fresh.made >= this.last.made)) {
        this.last = fresh;
        try { localStorage.setItem(this.key, JSON.stringify(fresh)); } catch { /* private mode: it is only a memory */ }
      }
      this.pause = fresh ? POLL_MS : Math.min(this.pause * 2, SLOWEST_MS);
      this.asked = true;
      this.show();
      this.timer = setTimeout(() => this.poll(), this.pause * (0.8 + Math.random() * 0.4));
    }

    async ask(url) {
      const stop = new AbortController();
      const late = setTimeout(() => stop.abort(), TIMEOUT_MS);
      const get = (from) => fetch(from, { cache: "no-cache", credentials: "omit", signal: stop.signal });
      try {
        // Twice: banner and signature may be of two generations when both are just being rewritten.
        for (let tries = 0; tries < 2; tries++) {
          const answer = await get(url);
          const bytes = await answer.arrayBuffer();
          const body = JSON.parse(new TextDecoder().decode(bytes));
          const made = Date.parse(body.generated_at);
          if (!answer.ok || body.schema !== 1 || !made) return null;
          if (!(await this.isSigned(url, bytes, get))) continue;
          const date = Date.parse(answer.headers.get("Date")) || Date.now();
          return { body, made, drift: date - Date.now() };
        }
      } catch {
        /* No answer: the next source, or what is remembered, with its age. */
      } finally {
        clearTimeout(late);
      }
      return null;
    }

    /* With key="..." (banner.key) only what is signed counts, wherever it comes from. */
    async isSigned(url, bytes, get) {
      const key = this.getAttribute("key");
      if (!key) return true;
      const raw = (value) => Uint8Array.from(atob(value.trim()), (letter) => letter.charCodeAt(0));
      let known;
      try {
        known = await crypto.subtle.importKey("raw", raw(key), "Ed25519", false, ["verify"]);
      } catch {
        return url === this.getAttribute("src"); // a browser that cannot check trusts the source, and no mirror
      }
      const signature = await (await get(url.replace(/(\?|$)/, ".sig$1"))).text();
      return crypto.subtle.verify("Ed25519", known, raw(signature), bytes);
    }

    isFresh(answer) {
      return Date.now() + (answer.drift || 0) - answer.made <= 1000 * (answer.body.valid_for_s || 300);
    }

    show() {
      if (!this.last && !this.asked) { this.hidden = true; return; }
      const lang = (this.getAttribute("lang") || document.documentElement.lang || "en").slice(0, 2);
      const say = WORDS[lang] || WORDS.en;
      const clock = (value) => new Date(value).toLocaleTimeString(lang, { hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
      const view = this.last && this.isFresh(this.last) ? this.seen(this.last.body, say) : this.blind(say, clock);
      this.hidden = view.state === "operational";
      const key = JSON.stringify(view);
      if (key !== this.shown) {
        this.shown = key;
        this.draw(view, say, clock);
      }
      this.setAttribute("state", view.state);
    }

    blind(say, clock) {
      const since = this.last && this.last.made;
      return {
        state: "unknown", headline: since ? say.lost(clock(since)) : say.never, age: since,
        what_to_do: this.last && this.last.body.incident ? text(this.last.body.what_to_do) : "",
      };
    }

    seen(body, say) {
      const chosen = list(this.getAttribute("components"));
      const all = Array.isArray(body.components) ? body.components : [];
      const mine = all.filter((one) => chosen.includes(one.slug) || chosen.includes(one.id));
      const state = ORDER.includes(body.state) ? body.state : "unknown";
      const whole = { state, headline: text(body.headline), what_to_do: text(body.what_to_do), since: body.since,
        next: body.next_update_by, url: text(body.incident && body.incident.url), age: this.last.made, parts: [] };
      if (!chosen.length) return whole;
      const worst = mine.map((one) => OF[one.status] || "unknown").sort((a, b) => ORDER.indexOf(b) - ORDER.indexOf(a))[0];
      // An incident that names no component concerns everyone; so does a page whose parts are all well and that is not.
      const general = body.general === true || all.every((one) => one.status === "operational");
      if (general) return whole;
      if (!worst) return { ...whole, state: "unknown" };
      const hurt = mine.filter((one) => one.status !== "operational");
      return { ...whole, state: worst, parts: hurt.map((one) => `${text(one.name)}: ${say[OF[one.status]] || say.unknown}${one.why ? `: ${text(one.why)}` : ""}`) };
    }

    draw(view, say, clock) {
      const box = this.box;
      const line = (kind, value) => {
        const p = box.appendChild(document.createElement("p"));
        p.className = kind;
        p.dir = "auto";
        p.textContent = value;
        return p;
      };
      box.replaceChildren();
      box.dataset.state = view.state;
      box.setAttribute("role", view.state === "outage" || view.state === "partial" ? "alert" : "status");
      const head = line("head", view.headline);
      const sign = document.createElement("span");
      sign.textContent = SIGNS[view.state];
      sign.setAttribute("aria-hidden", "true");
      head.prepend(sign);
      for (const part of view.parts || []) line("", part);
      if (view.what_to_do) line("", view.what_to_do);
      const overdue = view.next && Date.parse(view.next) < Date.now();
      if (view.next) line("", `${overdue ? say.late : say.next} ${clock(view.next)}`);
      const quiet = line("quiet", [view.since && `${say.since} ${clock(view.since)}`, view.age && say.age(clock(view.age))].filter(Boolean).join(" \u00b7 "));
      if (/^https?:/.test(view.url || "")) {
        const link = document.createElement("a");
        link.href = view.url;
        link.rel = "noopener";
        link.textContent = say.more;
        quiet.append(" \u00b7 ", link);
      }
    }
  }
  if (!customElements.get("status-banner")) customElements.define("status-banner", StatusBanner);
})();
