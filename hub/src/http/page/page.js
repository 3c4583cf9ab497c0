// What the operator's page does: it reads /api, hears /api/events, and asks before it changes anything.
"use strict";

const $ = (id) => document.getElementById(id);
const PAGE = 25;
let now = Date.now();
let place = { offset: 0, after: 0, next: null };
let token = null;

// Elements by their text and children, never by HTML: what devices send is shown as it is.
function el(name, more = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(more)) {
    if (key === "on") node.addEventListener("click", value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const plain = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

const ago = (ms) => (ms === null || ms === undefined ? "–" : `${span((now - ms) / 1000)} ago`);
const counted = (count, noun) => (count === 1 ? `1 ${noun}` : `${count} ${noun}s`);
const gib = (bytes) => (bytes === null ? "–" : `${(bytes / 2 ** 30).toFixed(1)} GiB`);
const say = (text) => { $("said").textContent = text; };

async function api(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "X-TT-Hub": "1", "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options).catch(() => {
    throw new Error(body === undefined ? "The hub does not answer." : "The hub does not answer: whether that was done is seen when it is back.");
  });
  const told = await answer.json().catch(() => ({}));
  if (answer.status === 401 && path !== "/login") {
    await login();
    return api(path, body);
  }
  if (!answer.ok) throw new Error(told.error || `the hub answered ${answer.status}`);
  return told;
}

// Asks in a dialog. Gives the fields' values, or null when the answer is no.
function ask(title, text, yes, fields = []) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-fields").replaceChildren(...fields.map(([name, label, value, type]) => {
    const input = el("input", { name, value: value || "", type: type || "text", autocomplete: "off" });
    return el("label", {}, label, input);
  }));
  const dialog = $("ask");
  dialog.returnValue = "";
  dialog.showModal();
  (dialog.querySelector("input") || $("ask-no")).focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      const values = {};
      for (const input of dialog.querySelectorAll("input")) values[input.name] = input.value;
      done(dialog.returnValue === "yes" ? values : null);
    }, { once: true });
  });
}

// One question for all that were refused at the same time.
function login() {
  token ??= (async () => {
    for (let why = "This hub asks for the token in http.token of its folder."; why !== ""; ) {
      const given = await ask("Log in", why, "Log in", [["token", "Token", "", "password"]]);
      if (given === null) throw new Error("Not logged in: reload this page to be asked again.");
      why = await api("/login", given).then(() => "", (error) => `That did not work: ${error.message}.`);
    }
    say("");
    watch();
  })().finally(() => { token = null; });
  return token;
}

async function act(title, text, yes, path, body, fields) {
  const given = await ask(title, text, yes, fields);
  if (given === null) return;
  try {
    const told = await api(path, typeof body === "function" ? body(given) : body);
    const failed = (told.outcomes || []).find((outcome) => outcome.is === "failed");
    say(failed ? failed.reason : told.token ? `Type on the device: tt-edge join ${told.token}` : (told.problems || []).join("; ") || "Done.");
  } catch (error) {
    say(error.message);
  }
  refresh();
}

function overview(told) {
  now = told.at;
  $("silent").hidden = true;
  const { state, text, todo } = told.verdict;
  $("verdict").dataset.state = state;
  // Only what is news is said again to those who listen.
  const words = { healthy: "✓ well", warning: "▲ look at this", critical: "✕ act now" };
  for (const [id, value] of [["verdict-word", words[state]], ["verdict-text", text]]) {
    if ($(id).textContent !== value) $(id).textContent = value;
  }
  $("todo").replaceChildren(...todo.filter((what) => what !== text).map((what) => el("li", {}, what)));
  const counts = Object.entries(told.devices).filter(([, count]) => count > 0);
  $("device-count").textContent = counts.map(([name, count]) => `${count} ${name}`).join(", ");
  const open = Object.values(told.conflicts).reduce((sum, count) => sum + count, 0);
  $("conflict-count").textContent = open === 0 ? "none open" : `${open} open`;
  const lag = Object.fromEntries((told.journal.lag || []).map((one) => [one.vault, one]));
  const row = (vault) => {
    const behind = lag[vault.name] || {};
    const late = behind.problem || (behind.versions ? `${counted(behind.versions, "version")}, ${span(behind.seconds)}` : "in step");
    const read = vault.scrubbed ? ago(vault.scrubbed * 1000) : "–";
    return el("tr", {}, ...[vault.name, gib(vault.free), read, late].map((cell) => el("td", {}, cell)));
  };
  $("vaults").replaceChildren(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Vaults" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Vault", "Free", "Oldest reading of a copy", "Journal"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...told.vaults.map(row)))));
  const drill = told.last_drill;
  $("drill").textContent = drill === null ? "No restore was rehearsed yet." : `A restore was rehearsed ${ago(Date.parse(drill.at))}: ${drill.failed || "it went well"}.`;
}

function spark(samples) {
  if (!samples.some((sample) => sample > 0)) return null;
  const top = Math.max(...samples);
  const points = samples.map((sample, at) => `${at * 3},${(19 - (18 * sample) / top).toFixed(1)}`).join(" ");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of [["width", 90], ["height", 20], ["role", "img"], ["aria-label", `traffic of the last minutes, at most ${top} bytes in ten seconds`]]) svg.setAttribute(name, value);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points);
  svg.append(line);
  return svg;
}

const MARKS = { connected: "● connected", away: "○ away", blocked: "✕ blocked", revoked: "– revoked" };

function device(edge) {
  const name = edge.name;
  const fact = (word, value) => el("div", {}, el("dt", {}, word), el("dd", {}, value));
  const clock = edge.clock_offset_ms;
  return el("li", { class: "card", "data-device": name, "data-state": edge.state },
    el("h3", {}, name, el("small", { class: "state" }, MARKS[edge.state]), el("small", {}, edge.role), spark(edge.traffic)),
    edge.blocked && el("p", { class: "reason" }, edge.blocked),
    edge.reseed_ordered ? el("p", {}, "A reseed is ordered and not done yet.") : null,
    el("dl", {}, fact("Not sent", edge.unsent === null ? "–" : counted(edge.unsent, "row")), fact("Oldest of them", span(edge.oldest_unsent_s)),
      fact("Not received", edge.behind === null ? "–" : counted(edge.behind, "version")), fact("Clock", clock === null ? "–" : `${clock > 0 ? "+" : ""}${clock} ms${Math.abs(clock) > 2000 ? " – set it" : ""}`),
      fact("Schema", plain(edge.schema)), fact("Seen", ago(edge.last_seen)), fact("Address", plain(edge.address))),
    edge.state === "revoked" ? null : el("p", { class: "row" },
      el("button", { type: "button", on: () => act(`Reseed ${name}?`, "It hands in what it has, then takes all rows from the hub anew. Its programs go on.", "Reseed", "/api/reseed", { name }) }, "Reseed…"),
      el("button", { type: "button", on: () => act(`Revoke ${name}?`, "It is cut off within seconds and for ever. What it has not sent stays on it.", "Revoke", "/api/revoke", { name }) }, "Revoke…")));
}

const query = (form, more) => new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "").concat(Object.entries(more)));

// What has the focus keeps it when a list is drawn anew.
function draw(list, nodes) {
  const held = list.contains(document.activeElement) ? [...list.querySelectorAll("button, input")].indexOf(document.activeElement) : -1;
  list.replaceChildren(...nodes);
  if (held >= 0) list.querySelectorAll("button, input")[held]?.focus();
}

async function devices() {
  const told = await api(`/api/edges?${query($("edge-filter"), { offset: place.offset, limit: PAGE })}`);
  draw($("edges"), told.edges.length ? told.edges.map(device) : [el("li", { class: "faint" }, "No such device.")]);
  $("edges-place").textContent = told.total ? `${told.offset + 1} to ${told.offset + told.edges.length} of ${told.total}` : "";
  $("edges-back").disabled = told.offset === 0;
  $("edges-on").disabled = told.offset + told.edges.length >= told.total;
}

function conflict(entry) {
  const id = entry.id;
  const key = Object.entries(entry.key).map(([name, value]) => `${name}=${plain(value)}`).join(" ");
  const decide = (decision, title, text) => el("button", { type: "button", "data-decision": decision, on: () => act(`${title}?`, `Conflict ${id}, ${entry.table} ${key}. ${text}`, title, "/api/decide", { ids: [id], decision }) }, `${title}…`);
  const row = (name, ...cells) => el("tr", {}, el("th", { scope: "row" }, name), ...cells.map((cell) => el("td", {}, plain(cell))));
  const rows = entry.columns.map((column) => row(column.name, column.base, column.kept, column.lost));
  if (!rows.length && entry.row) rows.push(...Object.entries(entry.row).map(([name, value]) => row(name, null, null, value)));
  const first = (entry.columns[0] || {}).name || Object.keys(entry.row || {})[0] || "column";
  return el("article", { class: "card", "data-conflict": id },
    el("h3", {}, `${entry.table} ${key}`, el("small", {}, `conflict ${id}, ${entry.kind}`)),
    el("p", { class: "faint" }, entry.action),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Values of conflict ${id}` }, el("table", { class: "sides" },
      el("thead", {}, el("tr", {}, ...["", "Before", `At the hub${entry.kept_from ? `, from ${entry.kept_from}` : ""}`, `Not taken, from ${entry.lost_from}, ${ago(entry.lost_at)}`].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, ...rows))),
    entry.state !== "open" ? el("p", {}, `Closed: ${entry.decision}`) : el("p", { class: "row" },
      decide("winner", "Keep the hub's", "What stands at the hub stays."),
      decide("loser", "Take the other", "What was not taken goes in after all; of a counter, the difference is added."),
      entry.rows === 1 ? el("button", { type: "button", on: () => act("Write another value", `Conflict ${id}. One column=value; column:=NULL for what SQL would write.`, "Write", `/api/conflicts/${id}/edit`, (given) => ({ values: [given.value] }), [["value", "Column and value", `${first}=`]]) }, "Edit…") : null,
      decide("dismiss", "Dismiss", "The entry is closed and nothing is changed.")));
}

async function conflicts() {
  const told = await api(`/api/conflicts?${query($("conflict-filter"), { after: place.after, limit: PAGE })}`);
  place.next = told.next;
  draw($("conflicts"), told.conflicts.length ? told.conflicts.map(conflict) : [el("p", { class: "faint" }, "No conflict waits here.")]);
  $("conflicts-on").disabled = told.next === null;
  $("conflicts-first").disabled = place.after === 0;
}

const SIGNS = { proven: ["✓", "every copy read back"], stored: ["◐", "some copies only"], failed: ["✕", "no good copy"] };

async function calendar() {
  const told = await api("/api/calendar?days=30");
  const cells = new Map(told.cells.map((cell) => [`${cell.tier} ${cell.day}`, cell]));
  const cell = (tier, day) => {
    const found = cells.get(`${tier} ${day}`);
    if (!found) return el("td", {}, el("span", { class: "cell" }, "·"));
    const [sign, words] = SIGNS[found.state];
    return el("td", {}, el("button", { type: "button", class: `cell ${found.state}`, "aria-label": `${tier} ${day}: ${found.backups.length}, ${words}`, on: () => day_of(found) }, sign));
  };
  const row = (tier) => el("tr", {}, el("th", { scope: "row" }, tier), ...told.days.map((day) => cell(tier, day)));
  draw($("calendar"), [
    el("thead", {}, el("tr", {}, el("td"), ...told.days.map((day) => el("th", { scope: "col", title: day }, day.slice(8))))),
    el("tbody", {}, ...["hourly", "daily", "weekly", "monthly", "yearly"].map(row))]);
  // Where it is wider than the screen, today is what is looked for.
  if (!calendar.drawn) $("calendar").closest(".scroll").scrollLeft = 1e6;
  calendar.drawn = true;
}

function day_of(cell) {
  const one = (backup) => el("li", {}, `${backup.id}: ${backup.bytes} bytes, version ${backup.version}; `, backup.vaults.map((vault) => `${vault.name} ${vault.state}`).join(", "), " ",
    el("button", { type: "button", on: () => { $("preview").elements.what.value = backup.id; $("preview").requestSubmit(); } }, "What would it change?"));
  $("day").replaceChildren(el("h3", {}, `${cell.tier}, ${cell.day}`), el("ul", {}, ...cell.backups.map(one)));
}

function row_history(told) {
  const columns = (change) => change.columns.map((column) => `${column.name} ${plain(column.from)} → ${plain(column.to)}`).join(", ");
  const row = (change) => el("tr", {}, ...[change.version, new Date(change.at).toLocaleString(), change.by, `${change.event} ${change.decision || columns(change)}`].map((cell) => el("td", {}, plain(cell))));
  $("changes").replaceChildren(told.changes.length ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Changes" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Version", "When", "By", "What"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, ...told.changes.map(row)))) : "Nothing has happened to this row.");
}

// Reads the lists anew; when asked again meanwhile, once more after that.
let reading = null;
let again = false;
async function refresh() {
  if (reading) { again = true; return; }
  reading = Promise.allSettled([devices(), conflicts()]);
  const failed = (await reading).find((one) => one.status === "rejected");
  if (failed) say(failed.reason.message);
  reading = null;
  if (again) { again = false; setTimeout(refresh, 300); }
}

let events = null;
let heard = 0;
function watch() {
  events?.close();
  events = new EventSource("/api/events");
  events.addEventListener("overview", (event) => { heard = performance.now(); overview(JSON.parse(event.data)); refresh(); });
  events.addEventListener("heartbeat", () => { heard = performance.now(); $("silent").hidden = true; });
  events.addEventListener("error", () => { $("silent").hidden = false; });
}

setInterval(() => {
  if (performance.now() - heard > 25000) { $("silent").hidden = false; heard = performance.now(); watch(); }
}, 5000);

function form(id, work) {
  $(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    say("");
    try { await work(new FormData($(id))); } catch (error) { say(error.message); }
  });
}

for (const [id, reset] of [["edge-filter", () => { place.offset = 0; }], ["conflict-filter", () => { place.after = 0; }]]) {
  $(id).addEventListener("input", () => { reset(); refresh(); });
  form(id, async () => refresh());
}
// What an earlier question came to never stands under a new one.
form("history", async (data) => {
  $("changes").replaceChildren();
  row_history(await api(`/api/history?${new URLSearchParams([...data])}`));
});
form("preview", async (data) => {
  const what = data.get("what");
  $("plan").hidden = true;
  const told = await api("/api/restore/preview", /^[0-9]/.test(what) ? { at: what } : { what });
  const plan = told.plan;
  const tables = Object.entries(plan.tables).map(([name, change]) => `${name}: ${change.added} come back, ${change.removed} go, ${change.changed} change`);
  const again_sent = plan.devices.filter((one) => one.again_from !== null && !one.revoked).map((one) => `${one.name} sends changesets ${one.again_from} to ${one.again_to} again`);
  $("plan").hidden = false;
  $("plan").textContent = [`${told.id} was checked and can be restored.`, `It is version ${plan.version}; now: version ${plan.present_version}.`, ...(tables.length ? tables : ["No row of any table is another one."]), ...again_sent, ...told.notes, `To do it: tt-hub restore ${what.includes(" ") ? `--at "${what}"` : what}`].join("\n");
});
const on = (id, work) => $(id).addEventListener("click", work);
on("edges-back", () => { place.offset = Math.max(0, place.offset - PAGE); refresh(); });
on("edges-on", () => { place.offset += PAGE; refresh(); });
on("conflicts-first", () => { place.after = 0; refresh(); });
on("conflicts-on", () => { if (place.next !== null) place.after = place.next; refresh(); });
on("backup", async () => { await act("Back up now?", "An hourly backup, and each coarser one that is due. Every copy is read back.", "Back up", "/api/backup", {}); calendar(); });
on("verify", async () => { await act("Read all copies back?", "This reads every byte of every vault. Bad copies are made again from good ones.", "Read", "/api/verify", {}); calendar(); });
on("invite", () => act("Invite a device", "Its name is a-z, 0-9 and -. The token works once, within a day.", "Invite", "/api/invite", (given) => given, [["name", "Name"], ["role", "Role", "station"]]));
api("/api/overview").then(overview).then(refresh).then(calendar).catch((error) => say(error.message));
setInterval(() => { calendar().catch(() => {}); }, 60000);
watch();
