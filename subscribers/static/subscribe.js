// The form works without this file. With it: notifications in this browser, the reader's zone, and a little work that a
// person does not notice and a flood does.
"use strict";

(() => {
  const form = document.getElementById("ask");
  if (!form) return;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  if (form.elements.time_zone && !form.elements.time_zone.value) form.elements.time_zone.value = zone;

  const zeros = (hash) => {
    const view = new DataView(hash);
    return Math.clz32(view.getUint32(0));
  };

  const work = async () => {
    const bits = Number(form.dataset.bits), text = new TextEncoder();
    const start = `${form.elements.seed.value}:${form.elements.address.value}:`;
    for (let nonce = 0; nonce < 1 << (bits + 4); nonce += 1) {
      const hash = await crypto.subtle.digest("SHA-256", text.encode(start + nonce));
      if (zeros(hash) >= bits) return String(nonce);
    }
    return "";
  };

  let isReady = !(window.crypto && crypto.subtle);
  form.addEventListener("submit", async (event) => {
    if (isReady) return;
    event.preventDefault();
    isReady = true;
    try {
      form.elements.nonce.value = await work();
    } finally {
      form.submit();
    }
  });
})();

(() => {
  const box = document.getElementById("push");
  const button = box && box.querySelector("button");
  const said = box && box.querySelector("[role=status]");
  if (!box || !("serviceWorker" in navigator) || !("PushManager" in window)) return;
  box.hidden = false;

  const key = () => {
    const text = box.dataset.key.replace(/-/g, "+").replace(/_/g, "/");
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  };

  const chosen = () => {
    const form = new FormData();
    for (const one of document.querySelectorAll("input[name=components]:checked")) form.append("components", one.value);
    const language = document.querySelector("#ask input[name=language]");
    if (language) form.append("language", language.value);
    form.append("time_zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "");
    return form;
  };

  const subscribe = async () => {
    if ((await Notification.requestPermission()) !== "granted") throw new Error(box.dataset.denied);
    const worker = await navigator.serviceWorker.register("/push/worker.js");
    await ready(worker);
    const subscription = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key() });
    const form = chosen();
    form.append("channel", "webpush");
    form.append("address", JSON.stringify(subscription));
    const answer = await fetch("/subscribe", { method: "POST", body: form, headers: { Accept: "application/json" } });
    if (!answer.ok) {
      const words = await answer.json().catch(() => ({}));
      throw new Error(Object.values(words.errors || {})[0] || box.dataset.failed);
    }
  };

  const ready = (registration) => new Promise((resolve) => {
    const worker = registration.installing || registration.waiting || registration.active;
    if (worker.state === "activated") return resolve();
    worker.addEventListener("statechange", () => worker.state === "activated" && resolve());
  });

  button.addEventListener("click", async () => {
    button.disabled = true;
    said.textContent = box.dataset.asking;
    try {
      await subscribe();
      said.textContent = box.dataset.done;
    } catch (error) {
      said.textContent = error.message || box.dataset.failed;
      button.disabled = false;
    }
  });
})();
