// Today's entries, and where each of them is: kept on this screen, saved on this device, at the hub.
import { digits, lang, say } from "/words.js";
import { make } from "/forms.js";

const NOTE = 80; // signs of a note that are shown here
const PARTS = ["cases", "displays", "packs", "loose", "reopened", "damaged", "tablets"];

export function draw(kept, entries, on) {
  const keys = new Set(entries.map((one) => one.key));
  const mine = kept.filter((one) => !keys.has(one.key)).map((one) => itemOf(one, "page", on));
  const saved = entries.map((one) => itemOf(one, one.void ? "void" : one.at_hub ? "hub" : "here", on));
  const list = document.querySelector("#list");
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  list.replaceChildren(...mine, ...saved);
  if (focused) list.querySelector(`[data-id="${focused}"]`)?.focus();
  document.querySelector("#none").hidden = list.children.length > 0;
  const counted = mine.length + entries.filter((one) => !one.void).length;
  document.querySelector("#today-count").textContent = counted ? `(${digits(counted)})` : "";
}

function itemOf(one, where, on) {
  const { employee, count, notes } = one.entry;
  const item = make("li", where);
  item.dataset.key = one.key;
  const time = new Intl.DateTimeFormat(lang(), { hour: "2-digit", minute: "2-digit" }).format(one.at);
  const numbers = PARTS.filter((name) => count[name]).map((name) => `${say(name)} ${digits(count[name])}`);
  for (const each of count.machines ?? []) numbers.push(`${on.machine(each.machine)} ${digits(each.counter)}`);
  const places = ["receipt", "box", "bag"].filter((name) => count[name] != null && count[name] !== "").map((name) => `${say(name)} ${count[name]}`);
  const kind = where === "here" ? "wait" : where;
  item.append(make("span", "what", [count.product ?? count.tablet, numbers.join(", ")].filter(Boolean).join(" · ")), make("span", "where " + kind, say(where)));
  const note = notes?.length > NOTE ? notes.slice(0, NOTE) + "…" : notes;
  item.append(make("span", "detail", [time, employee, ...places, note].filter(Boolean).join(" · ")), make("span"));
  if (one.problem) item.append(make("p", "wrong", say(one.problem.error)));
  const buttons = make("div", "buttons");
  const button = (word, act) => {
    const each = make("button", "", say(word));
    Object.assign(each, { type: "button", onclick: () => act(one) });
    each.dataset.id = word + one.key;
    each.setAttribute("aria-label", `${say(word)}: ${count.product ?? count.tablet}, ${time}`);
    buttons.append(each);
  };
  if (where === "page" && one.problem) {
    button("correct", on.takeUp);
    button("discard", on.discard);
  } else if (where === "here" || where === "hub") {
    button("correct", on.correct);
    button("takeback", on.takeBack);
  }
  if (buttons.children.length) item.append(buttons);
  return item;
}
