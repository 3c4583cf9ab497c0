// Keeps the page's files, so that it opens also while the daemon is being restarted. Entries are none of its business.
const FILES = ["/", "/station.css", "/station.js", "/forms.js", "/list.js", "/queue.js", "/scan.js", "/words.js", "/icon.svg"];

addEventListener("install", (event) => {
  event.waitUntil(caches.open("station").then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || !FILES.includes(url.pathname)) return;
  const fresh = fetch(event.request).then(async (answer) => {
    if (answer.ok) await (await caches.open("station")).put(url.pathname, answer.clone());
    return answer;
  });
  event.respondWith(fresh.catch(async () => (await caches.match(url.pathname)) ?? Response.error()));
});
