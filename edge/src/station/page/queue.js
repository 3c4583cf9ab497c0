// Entries that the daemon has not confirmed. Each lies in localStorage under its own key from before it is first
// sent until the confirmation is here: a closed tab, a crash or two tabs lose nothing, and because the key goes
// with it, the daemon counts it once however often it is sent.
const PREFIX = "tt-entry-";
const PAUSES = [500, 1000, 2000, 5000, 10000];
let busy = false, failures = 0, timer = 0;
let changed = () => {}, asked = () => {};

export const newKey = () => {
  const chance = crypto.getRandomValues(new Uint8Array(12));
  return Date.now().toString(36) + "-" + [...chance].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

export function listen(onChange, onProblem) { [changed, asked] = [onChange, onProblem]; }

export function kept() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  const all = keys.map((key) => ({ key: key.slice(PREFIX.length), ...JSON.parse(localStorage.getItem(key)) }));
  return all.sort((a, b) => b.at - a.at);
}

export function keep(key, entry, at = Date.now()) {
  localStorage.setItem(PREFIX + key, JSON.stringify({ entry, at }));
  failures = 0;
  changed();
}

export function drop(key) { localStorage.removeItem(PREFIX + key); changed(); }

// The daemon was asked more than once and takes nothing: its disk may be full, or its file locked.
export const isStuck = () => failures > 1;

// Asks the daemon; null when it does not answer or cannot just now.
export async function ask(path, body) {
  try {
    const answer = await fetch(path, body === undefined ? {} : {
      method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(45000),
      headers: { "content-type": "application/json", "x-tablettracker": "1" },
    });
    const text = await answer.json();
    return answer.status === 503 && path !== "/api/catalog" ? null : { ok: answer.ok, ...text };
  } catch { return null; }
}

// Sends all that is kept, oldest first. What the daemon will never take as it is waits for the person.
export async function send() {
  clearTimeout(timer);
  if (busy) return;
  busy = true;
  let silent = false;
  for (const one of kept().reverse().filter((one) => !one.problem)) {
    const answer = await ask("/api/entries/" + one.key, one.entry);
    if (!answer) { silent = true; break; }
    // The person may have taken it back into the form, or another tab may have sent it.
    if (!localStorage.getItem(PREFIX + one.key)) continue;
    if (answer.ok) {
      failures = 0;
      drop(one.key);
      asked({ ...one, saved: true });
    } else {
      localStorage.setItem(PREFIX + one.key, JSON.stringify({ entry: one.entry, at: one.at, problem: answer }));
      changed();
      asked({ ...one, problem: answer });
    }
  }
  busy = false;
  if (silent) {
    timer = setTimeout(send, PAUSES[Math.min(failures++, PAUSES.length - 1)]);
    changed();
  } else if (kept().some((one) => !one.problem)) timer = setTimeout(send, 0);
}
