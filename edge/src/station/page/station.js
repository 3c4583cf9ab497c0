// The station page: puts its parts together and listens to what the daemon tells.
import * as forms from "/forms.js";
import * as list from "/list.js";
import * as queue from "/queue.js";
import { digits, lang, say, speak } from "/words.js";
import { onScan } from "/scan.js";

const $ = (selector) => document.querySelector(selector);
let now = null, answers = true, machines = [], lastKey = "";

function status() {
  const all = queue.kept();
  const [kept, asked] = [all.length, all.filter((one) => one.problem).length];
  const waiting = now?.waiting ?? 0;
  let state = "hub", words = say("athub");
  if (!answers) [state, words] = ["lost", say("lost", digits(kept))];
  else if (!now) [state, words] = ["alone", "…"];
  else if (kept > asked && queue.isStuck()) [state, words] = ["lost", say("stuck", digits(kept - asked))];
  else if (asked) [state, words] = ["lost", say("asked", digits(asked))];
  else if (now.refused) [state, words] = ["stopped", say("stopped")];
  else if (!now.connected) [state, words] = ["alone", waiting ? say("offlinewaiting", digits(waiting)) : say("offline")];
  else if (waiting) [state, words] = ["wait", say("waiting", digits(waiting))];
  $("#status").dataset.state = state;
  if ($("#status-words").textContent !== words) $("#status-words").textContent = words;
}

function draw() {
  status();
  list.draw(queue.kept(), now?.entries ?? [], {
    machine: (id) => machines.find((one) => one.id === id)?.name ?? say("counter"),
    takeUp: (one) => { forms.load(one.key, one.entry); queue.drop(one.key); },
    discard: async (one) => { if (await decide("discardask", "yesdiscard", "notakeback")) queue.drop(one.key); },
    correct: (one) => { forms.load(one.key, one.entry, true); scrollTo(0, 0); },
    takeBack,
  });
}

function tell(words) {
  $("#said").textContent = "";
  $("#said").textContent = words;
  $("#toast").textContent = words;
  $("#toast").hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { $("#toast").hidden = true; }, 4000);
}

function decide(question, yes, no) {
  const dialog = $("#question");
  $("#question-words").textContent = say(question);
  $("#question-yes").textContent = say(yes);
  $("#question-no").textContent = say(no);
  if (dialog.open) return Promise.resolve(false);
  dialog.showModal();
  $("#question-no").focus();
  return new Promise((done) => {
    const end = (answer) => () => { dialog.onclose = null; dialog.close(); done(answer); };
    $("#question-yes").onclick = end(true);
    $("#question-no").onclick = end(false);
    dialog.onclose = () => done(false);
  });
}

// Two tabs that begin with the same draft have the same key. What is counted under it already is this count or another
// one, and only the person knows that another one is meant.
async function submit(key, entry, correcting) {
  if (correcting) return amend(key, entry);
  const used = [...queue.kept(), ...(now?.entries ?? [])].find((one) => one.key === key);
  if (used) {
    if (same(used.entry, entry)) return forms.renew(), tell(say(answers ? "saved" : "kept"));
    if (!await decide("key-used", "yes", "no")) return;
    key = queue.newKey();
  }
  lastKey = key;
  try {
    queue.keep(key, entry);
  } catch {
    return tell(say("noscreen"));
  }
  forms.renew();
  queue.send();
  if (!answers) tell(say("kept"));
}

// The daemon fills in what was left out, and knows whether somebody was asked.
function same(one, other) {
  const told = ({ employee, day, notes, count }) => JSON.stringify(Object.entries({ employee, day, notes, ...count })
    .filter(([, value]) => value).map(([name, value]) => [name, JSON.stringify(value)]).sort());
  return told(one) === told(other);
}

// The daemon has taken an entry, or says what is wrong with it.
async function answered(one) {
  if (one.saved) return one.key === lastKey ? tell(say("saved")) : undefined;
  if (!one.problem.question) return tell(`${say("ask")}: ${say(one.problem.error)}`);
  if (one.key !== lastKey) return;
  if (await decide(one.problem.error, "yes", "no")) {
    queue.keep(one.key, { ...one.entry, confirmed: true }, one.at);
    queue.send();
  } else {
    forms.load(one.key, one.entry);
    queue.drop(one.key);
    forms.wrongField(one.problem.field, say(one.problem.error));
  }
}

async function amend(key, entry) {
  let answer = await queue.ask(`/api/entries/${key}/amend`, entry);
  if (answer?.question && await decide(answer.error, "yes", "no")) {
    answer = await queue.ask(`/api/entries/${key}/amend`, { ...entry, confirmed: true });
  }
  if (!answer) return tell(say("noanswer"));
  if (!answer.ok) {
    if (answer.field) forms.wrongField(answer.field, say(answer.error));
    return tell(say(answer.error));
  }
  forms.renew();
  tell(say("corrected"));
}

async function takeBack(one) {
  if (!await decide("takebackask", "yestakeback", "notakeback")) return;
  const answer = await queue.ask(`/api/entries/${one.key}/void`, {});
  if (answer?.ok && forms.key() === one.key) forms.renew();
  tell(!answer ? say("noanswer") : say(answer.ok ? "voided" : answer.error));
}

async function offer() {
  const catalog = await queue.ask("/api/catalog");
  if (!catalog) return;
  $("#trouble").hidden = catalog.ok;
  $("#trouble").textContent = catalog.ok ? "" : say(catalog.error);
  $(".card").hidden = !catalog.ok;
  if (!catalog.ok) return;
  machines = catalog.machines;
  const text = JSON.stringify(catalog);
  if (text === offer.last) return;
  localStorage.setItem("tt-catalog", offer.last = text);
  forms.offer(catalog);
}

// Reconnects for ever. EventSource does it by itself while the server only goes away, and gives up when it refuses.
function live() {
  const events = new EventSource("/api/live");
  events.onopen = () => { answers = true; status(); offer(); queue.send(); };
  events.onmessage = (event) => { answers = true; now = JSON.parse(event.data); $("#device").textContent = document.title = now.device; draw(); };
  events.onerror = () => {
    answers = false;
    status();
    if (events.readyState === EventSource.CLOSED) setTimeout(live, 3000);
  };
}

queue.listen(draw, answered);
forms.begin({ submit });
speak();
const known = localStorage.getItem("tt-catalog");
if (known) { const catalog = JSON.parse(known); machines = catalog.machines; forms.offer(catalog); } else forms.draw();
draw();
live();
queue.send();
addEventListener("storage", draw);
addEventListener("online", () => queue.send());
$("#language").addEventListener("click", () => { speak(lang() === "en" ? "es" : "en"); forms.draw(); draw(); });
onScan((code, field) => {
  if ($("#question").open) return;
  const found = forms.scan(code, field);
  tell(found ? say("scanned", say(found.name), found.value) : say("scanunknown", code));
});
navigator.serviceWorker?.register("/offline.js").catch(() => {});
