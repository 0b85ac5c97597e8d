// Shows what was pushed. The first push confirms: it came all the way, so this browser is told for certain.
"use strict";

self.addEventListener("push", (event) => {
  let said;
  try { said = event.data.json(); } catch (error) { return; }
  event.waitUntil(Promise.all([show(said), confirm(said)]));
});

async function show(said) {
  // A second copy of the same word replaces the first without a sound.
  const shown = await self.registration.getNotifications({ tag: said.tag });
  const isCopy = shown.some((one) => one.data && one.data.sequence === said.sequence && one.body === said.body);
  await self.registration.showNotification(said.title, {
    body: said.body,
    tag: said.tag,
    lang: said.lang,
    renotify: !isCopy,
    requireInteraction: Boolean(said.urgent),
    actions: said.heard ? [{ action: "heard", title: said.heard_label }] : [],
    data: { url: said.url, sequence: said.sequence, heard: said.heard || "" },
  });
}

async function confirm(said) {
  if (said.confirm) await post(said.confirm);
}

async function post(link) {
  const url = new URL(link, self.location.origin);
  // A link leads home or nowhere.
  return url.origin === self.location.origin ? fetch(url, { method: "POST" }) : null;
}

async function heard(link) {
  let answer = null;
  try { answer = await post(link); } catch (error) { /* no net: the page asks once more */ }
  if (!answer || !answer.ok) await self.clients.openWindow(link);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const data = event.notification.data || {};
  if (event.action === "heard" && data.heard) {
    event.waitUntil(heard(data.heard));
    return;
  }
  const url = data.url;
  if (url) event.waitUntil(self.clients.openWindow(url));
});

// The browser has new keys for us: the old address is dead from now on.
self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil((async () => {
    const options = event.oldSubscription ? event.oldSubscription.options : undefined;
    const fresh = event.newSubscription || (options && await self.registration.pushManager.subscribe(options));
    if (!fresh) return;
    const form = new FormData();
    form.append("channel", "webpush");
    form.append("address", JSON.stringify(fresh));
    await fetch("/subscribe", { method: "POST", body: form, headers: { Accept: "application/json" } });
  })());
});
