// The three forms, their fields and what they come to. A half-filled form lies in localStorage, so that a closed tab
// comes back as it was.
import { digits, say } from "/words.js";
import { newKey } from "/queue.js";

const NUMBER = /^\d{1,7}$/;
const form = document.querySelector("#form");
let catalog = { people: [], products: [], tablets: [], machines: [] };
let draft = { key: newKey(), kind: "packaged", values: {} };
let handlers = {}, renewed = -Infinity;
const TWICE_MS = 700; // a second tap so soon is the same tap

const FIELDS = {
  packaged: () => [pick("employee"), pick("product"), code("receipt", !catalog.receipts), number("box", true), number("bag", true),
    number("cases", true, !catalog.cases), number("displays", true), number("packs", true), number("loose", true),
    number("reopened", true, !catalog.reopened), number("damaged", true, !catalog.damaged), text("notes")],
  machine: () => [pick("employee"), pick("product"), code("receipt", !catalog.receipts), number("box", true), number("bag"),
    ...(catalog.machines.length ? catalog.machines : [{ id: null, name: say("counter") }]).map(machine), text("notes")],
  bag: () => [pick("employee"), pick("tablet"), number("box", true), number("bag"), number("tablets"), text("notes")],
};
const pick = (name) => ({ name, type: "pick", wide: true });
const code = (name, absent) => ({ name, type: "code", optional: true, absent });
const number = (name, optional, absent) => ({ name, type: "number", optional, absent });
const text = (name) => ({ name, type: "text", optional: true, wide: true });
const machine = (one) => ({ name: "m" + (one.id ?? ""), label: one.name, type: "number", optional: true, machine: one });
const fields = () => FIELDS[draft.kind]().filter((field) => !field.absent);
const options = (name) => ({ employee: catalog.people, product: catalog.products.map((one) => one.name), tablet: catalog.tablets })[name] ?? [];

export const begin = (on) => {
  handlers = on;
  draft = JSON.parse(localStorage.getItem("tt-draft") ?? "null") ?? draft;
  for (const one of document.querySelectorAll("#kinds input")) {
    one.addEventListener("change", () => { draft.kind = one.value; save(); draw(); });
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.localName !== "input" || event.target.getAttribute("aria-expanded") === "true") return;
    event.preventDefault();
    const all = [...form.querySelectorAll("input, textarea, button.main")];
    all[all.indexOf(event.target) + 1]?.focus();
  });
};

export const offer = (fresh) => { catalog = fresh; draw(); };
export const key = () => draft.key;
export const correcting = () => draft.correcting;
const save = () => localStorage.setItem("tt-draft", JSON.stringify(draft));
const input = (name) => form.querySelector(`[name="${name}"]`);

// A new empty form of the same kind; who counts and what stays.
export function renew() {
  const { employee } = draft.values;
  draft = { key: newKey(), kind: draft.kind, values: { employee } };
  renewed = performance.now();
  save();
  draw();
  input(draft.kind === "bag" ? "tablet" : "product")?.focus();
}

// Puts an entry back into the form.
export function load(key, entry, correcting) {
  const { count } = entry;
  const values = { employee: entry.employee, notes: entry.notes ?? "" };
  for (const [name, value] of Object.entries(count)) if (name !== "kind" && name !== "machines" && value !== null) values[name] = String(value);
  for (const one of count.machines ?? []) values["m" + (one.machine ?? "")] = String(one.counter);
  draft = { key, kind: count.kind, values, correcting, day: entry.day };
  save();
  draw();
  form.querySelector("input:not([name=employee])")?.focus();
}

export function draw() {
  document.querySelector(`#kinds [value=${draft.kind}]`).checked = true;
  const banner = document.querySelector("#correcting");
  banner.hidden = !draft.correcting;
  banner.textContent = say("correcting");
  form.replaceChildren(...fields().map(fieldOf), sumOf(), buttonsOf());
  add();
}

function fieldOf(field) {
  const box = make("div", `field ${field.type} ${field.wide ? "wide" : ""}`);
  const label = make("label", "", field.label ?? say(field.name));
  if (field.optional && ["receipt", "box", "bag", "notes"].includes(field.name)) label.append(" ", make("span", "optional", `(${say("optional")})`));
  const entry = document.createElement(field.type === "text" ? "textarea" : "input");
  Object.assign(entry, { name: field.name, id: "f-" + field.name, value: draft.values[field.name] ?? "", rows: 1, autocapitalize: "off", spellcheck: false });
  if (field.type === "number") Object.assign(entry, { inputMode: "numeric", maxLength: 7 });
  label.htmlFor = entry.id;
  entry.addEventListener("input", () => {
    draft.values[field.name] = entry.value;
    save();
    wrong(entry, "");
    add();
  });
  const why = make("p", "wrong");
  why.id = entry.id + "-wrong";
  why.hidden = true;
  box.append(label, entry, why);
  if (field.type === "pick") choices(box, entry, options(field.name));
  return box;
}

// A search over a list: type some letters, choose by finger, arrows or Enter.
function choices(box, entry, all) {
  const list = make("ul", "choices");
  Object.assign(list, { id: entry.id + "-list", hidden: true, role: "listbox" });
  list.setAttribute("aria-label", say(entry.name));
  entry.setAttribute("role", "combobox");
  entry.setAttribute("aria-controls", list.id);
  entry.setAttribute("aria-autocomplete", "list");
  let at = -1;
  const close = () => { list.hidden = true; at = -1; entry.setAttribute("aria-expanded", "false"); entry.removeAttribute("aria-activedescendant"); };
  const choose = (value) => {
    entry.value = value;
    entry.dispatchEvent(new Event("input", { bubbles: true }));
    close();
    const inputs = [...form.querySelectorAll("input, textarea")];
    inputs[inputs.indexOf(entry) + 1]?.focus();
  };
  const mark = (next) => {
    at = next;
    for (const [place, one] of [...list.children].entries()) one.setAttribute("aria-selected", String(place === at));
    list.children[at]?.scrollIntoView({ block: "nearest" });
    if (at >= 0) entry.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const open = () => {
    const parts = entry.value.toLowerCase().split(/\s+/);
    const chosen = all.includes(entry.value);
    const found = all.filter((one) => chosen || parts.every((part) => one.toLowerCase().includes(part))).slice(0, 60);
    list.replaceChildren(...found.map((one, place) => {
      const item = make("li", "", one);
      Object.assign(item, { id: `${list.id}-${place}`, role: "option" });
      item.addEventListener("pointerdown", (event) => event.preventDefault());
      item.addEventListener("click", () => choose(one));
      return item;
    }));
    list.hidden = !found.length;
    entry.setAttribute("aria-expanded", String(!list.hidden));
    mark(chosen ? found.indexOf(entry.value) : entry.value && found.length ? 0 : -1);
  };
  entry.addEventListener("click", open);
  entry.addEventListener("input", () => { if (document.activeElement === entry) open(); });
  entry.addEventListener("blur", close);
  entry.addEventListener("keydown", (event) => {
    const count = list.children.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return open();
      mark((at + (event.key === "ArrowDown" ? 1 : count - 1) + (at < 0 && event.key === "ArrowUp" ? 1 : 0)) % count);
    } else if (event.key === "Enter" && !list.hidden && at >= 0) {
      event.preventDefault();
      event.stopPropagation();
      choose(list.children[at].textContent);
    } else if (event.key === "Escape") close();
  });
  entry.setAttribute("aria-expanded", "false");
  box.append(list);
}

function sumOf() {
  const sum = make("p", "wide");
  sum.id = "sum";
  return sum;
}

function buttonsOf() {
  const box = make("div", "buttons wide");
  const main = make("button", "main", say("save"));
  main.id = "save";
  box.append(main);
  if (draft.correcting) {
    const cancel = make("button", "", say("cancel"));
    Object.assign(cancel, { type: "button", onclick: renew });
    box.append(cancel);
  }
  return box;
}

// The tablets that the numbers come to, so that a slip is seen before it is saved.
function add() {
  const product = catalog.products.find((one) => one.name === draft.values.product);
  const of = (name) => NUMBER.test(draft.values[name]) ? Number(draft.values[name]) : 0;
  const sum = document.querySelector("#sum");
  sum.hidden = draft.kind !== "packaged" || !product;
  if (sum.hidden) return;
  const displays = of("cases") * product.displays_per_case + of("displays");
  const packs = displays * product.packs_per_display + of("packs");
  sum.textContent = say("sum", digits(packs * product.tablets_per_pack + of("loose")));
}

export function wrong(entry, why) {
  const note = document.querySelector(`#${CSS.escape(entry.id)}-wrong`);
  note.textContent = why;
  note.hidden = !why;
  entry.setAttribute("aria-invalid", String(Boolean(why)));
  if (why) entry.setAttribute("aria-describedby", note.id); else entry.removeAttribute("aria-describedby");
}

export const wrongField = (name, why) => { const entry = input(name); if (entry) { wrong(entry, why); entry.focus(); } };

function submit() {
  if (performance.now() - renewed < TWICE_MS) return;
  const found = fields().map((field) => [field, input(field.name).value.trim()]);
  let first = null;
  for (const [field, value] of found) {
    let why = "";
    if (!value && !field.optional) why = say("needed");
    else if (value && field.type === "number" && !NUMBER.test(value)) why = say("notnumber");
    else if (value && field.type === "pick" && field.name !== "employee" && !options(field.name).includes(value)) why = say("notlisted");
    wrong(input(field.name), why);
    if (why) first ??= field;
  }
  const counters = found.filter(([field, value]) => field.machine && value);
  if (!first && draft.kind === "machine" && !counters.length) {
    first = fields().find((field) => field.machine);
    wrong(input(first.name), say("onemachine"));
  }
  if (!first && draft.kind === "packaged" && !["cases", "displays", "packs", "loose", "damaged", "reopened"].some((name) => draft.values[name])) {
    first = { name: "displays" };
    wrong(input("displays"), say("needed"));
  }
  if (first) return input(first.name).focus();
  handlers.submit(draft.key, entryOf(found, counters), draft.correcting);
}

function entryOf(found, counters) {
  const count = { kind: draft.kind };
  for (const [field, value] of found) {
    if (["employee", "notes"].includes(field.name) || field.machine || value === "") continue;
    count[field.name] = field.type === "number" ? Number(value) : value;
  }
  if (draft.kind === "machine") count.machines = counters.map(([field, value]) => ({ machine: field.machine.id, counter: Number(value) }));
  const { employee, notes } = Object.fromEntries(found.map(([field, value]) => [field.name, value]));
  return { employee, day: draft.day ?? new Date().toLocaleDateString("sv"), notes: notes || null, count };
}

// A scanned code: a product, a tablet type, a machine, a box, a bag, else the receipt. Gives what it was.
export function scan(told, field) {
  const code = told.replace(/^\][a-z][0-9a-z]/i, ""); // some scanners name the kind of barcode before it, as ]C1
  const same = (one) => one.toLowerCase() === code.toLowerCase();
  const placed = code.match(/^(box|caja|bag|bolsa)[-_:# ]*(\d{1,7})$/i);
  const machine = draft.kind === "machine" && catalog.machines.find((one) => same(one.name));
  const listed = ["product", "tablet", "employee"].map((name) => [name, options(name).find(same)]).find(([name, value]) => value && input(name));
  let name, value;
  if (machine) return focus("m" + machine.id) && { name: "machine", value: machine.name };
  if (!placed && /^(box|caja|bag|bolsa)[-_:# ]*\d+$/i.test(code)) return null;
  if (placed) [name, value] = [/^(box|caja)$/i.test(placed[1]) ? "box" : "bag", placed[2]];
  else if (listed) [name, value] = listed;
  else if (input("receipt")) [name, value] = ["receipt", code.replace(/^(receipt|recibo)[-_:# ]+/i, "")];
  else if (field?.name === "notes") [name, value] = ["notes", `${field.value} ${code}`.trim()];
  const entry = name && input(name);
  if (!entry) return null;
  entry.value = value;
  entry.dispatchEvent(new Event("input", { bubbles: true }));
  const all = [...form.querySelectorAll("input, textarea, #save")];
  (all.slice(all.indexOf(entry) + 1).find((one) => one.id === "save" || (!one.value && one.localName === "input")) ?? entry).focus();
  return { name, value };
}

const focus = (name) => { input(name)?.focus(); return true; };

export function make(name, kind, words = "") {
  const one = document.createElement(name);
  if (kind) one.className = kind.trim();
  one.textContent = words;
  return one;
}
