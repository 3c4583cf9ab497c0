// What the page says, in two languages. The language is remembered at this station.
const WORDS = {
  en: {
    skip: "Go to the count", count: "Count", packaged: "Packaged", machine: "Machine", bagcount: "Bag count", today: "Today",
    none: "Nothing counted yet.", employee: "Your name", product: "Product", tablet: "Tablet type", receipt: "Receipt number",
    box: "Box", bag: "Bag", cases: "Cases", displays: "Displays", packs: "Loose packs", loose: "Loose tablets",
    reopened: "Cards opened again", damaged: "Damaged tablets", tablets: "Tablets counted", notes: "Notes", counter: "Counter",
    optional: "optional", save: "Save", correct: "Correct", cancel: "Cancel", takeback: "Take back", discard: "Throw away",
    yes: "Yes, save it", no: "No, correct it", takebackask: "Take this count back? It will no longer be counted.",
    yestakeback: "Yes, take it back", notakeback: "No, keep it", yesdiscard: "Yes, throw it away",
    discardask: "Throw this count away? It was never saved.",
    hub: "At the hub", here: "Saved here", page: "Not saved yet", void: "Taken back", voided: "Taken back.",
    saved: "Saved on this device.", kept: "Kept on this screen. It is saved as soon as this device answers.", corrected: "Corrected.",
    correcting: "You are correcting a count.", sum: (n) => `= ${n} tablets`,
    athub: "At the hub.", waiting: (n) => `Saved on this device. ${n} waiting for the hub.`, offline: "No connection: keep counting.",
    offlinewaiting: (n) => `No connection: keep counting. ${n} saved on this device, waiting for the hub.`,
    lost: (n) => `This device does not answer: keep counting. ${n} kept on this screen.`,
    stuck: (n) => `This device cannot save just now: tell your supervisor. ${n} kept on this screen.`,
    asked: (n) => `Not saved: ${n}. Look below what is asked.`,
    stopped: "The hub has stopped this device: tell your supervisor. Counts stay saved here.",
    needed: "Fill this in.", notnumber: "Only digits, at most 7.", notlisted: "Choose one from the list.", onemachine: "Give at least one counter.",
    scanned: (what, value) => `Scanned: ${what} ${value}`, scanunknown: (code) => `This code fits no field here: ${code}`,
    language: "Español", noscreen: "This browser keeps nothing: the count is NOT kept. Wait for “Saved”.",
    "bag-unknown": "No open delivery has this bag with this product. Save anyway?", "bag-reserved": "This bag is reserved for bottles. Save anyway?",
    "receipt-used": "This receipt was counted already. Save anyway?", "receipt-other": "This receipt was used for another product. Save anyway?",
    "receipt-unknown": "No machine count has this receipt, and no bag is given. Save anyway?",
    "not-today": "Only today’s counts can be corrected here.", gone: "This count was removed elsewhere: look at it in the program.",
    unknown: "Not known on this device: choose from the list.", invalid: "Please check the numbers.", "too-much": "These numbers are too large.",
    "no-table": "Counting is not possible on this device: its file was made by another program.", busy: "The device is busy. Try again.",
    "key-used": "A count with other numbers was saved from this form already. Save this one as well?",
    noanswer: "This device does not answer. Nothing was changed. Try again.", ask: "Please look at this count", retrying: "trying again",
  },
  es: {
    skip: "Ir al conteo", count: "Conteo", packaged: "Empacado", machine: "Máquina", bagcount: "Conteo de bolsa", today: "Hoy",
    none: "Todavía no hay conteos.", employee: "Su nombre", product: "Producto", tablet: "Tipo de tableta", receipt: "Número de recibo",
    box: "Caja", bag: "Bolsa", cases: "Cajas llenas", displays: "Exhibidores", packs: "Paquetes sueltos", loose: "Tabletas sueltas",
    reopened: "Tarjetas reabiertas", damaged: "Tabletas dañadas", tablets: "Tabletas contadas", notes: "Notas", counter: "Contador",
    optional: "opcional", save: "Guardar", correct: "Corregir", cancel: "Cancelar", takeback: "Anular", discard: "Descartar",
    yes: "Sí, guardar", no: "No, corregir", takebackask: "¿Anular este conteo? Ya no se contará.",
    yestakeback: "Sí, anular", notakeback: "No, dejarlo", yesdiscard: "Sí, descartar",
    discardask: "¿Descartar este conteo? Nunca se guardó.",
    hub: "En la central", here: "Guardado aquí", page: "Aún sin guardar", void: "Anulado", voided: "Anulado.",
    saved: "Guardado en este equipo.", kept: "Queda en esta pantalla. Se guarda cuando el equipo responda.", corrected: "Corregido.",
    correcting: "Está corrigiendo un conteo.", sum: (n) => `= ${n} tabletas`,
    athub: "En la central.", waiting: (n) => `Guardado en este equipo. ${n} en espera de la central.`, offline: "Sin conexión: siga contando.",
    offlinewaiting: (n) => `Sin conexión: siga contando. ${n} guardados en este equipo, en espera de la central.`,
    lost: (n) => `Este equipo no responde: siga contando. ${n} en esta pantalla.`,
    stuck: (n) => `Este equipo no puede guardar ahora: avise a su supervisor. ${n} en esta pantalla.`,
    asked: (n) => `Sin guardar: ${n}. Vea abajo qué se pregunta.`,
    stopped: "La central detuvo este equipo: avise a su supervisor. Los conteos quedan guardados aquí.",
    needed: "Complete este campo.", notnumber: "Solo dígitos, máximo 7.", notlisted: "Elija uno de la lista.", onemachine: "Indique al menos un contador.",
    scanned: (what, value) => `Escaneado: ${what} ${value}`, scanunknown: (code) => `Este código no corresponde a ningún campo: ${code}`,
    language: "English", noscreen: "Este navegador no conserva nada: el conteo NO queda guardado. Espere a «Guardado».",
    "bag-unknown": "Ninguna entrega abierta tiene esta bolsa con este producto. ¿Guardar igual?", "bag-reserved": "Esta bolsa está reservada para frascos. ¿Guardar igual?",
    "receipt-used": "Este recibo ya se contó. ¿Guardar igual?", "receipt-other": "Este recibo se usó para otro producto. ¿Guardar igual?",
    "receipt-unknown": "Ningún conteo de máquina tiene este recibo y no se indicó bolsa. ¿Guardar igual?",
    "not-today": "Aquí solo se corrigen los conteos de hoy.", gone: "Este conteo se eliminó en otro lugar: véalo en el programa.",
    unknown: "No se conoce en este equipo: elija de la lista.", invalid: "Revise los números.", "too-much": "Estos números son demasiado grandes.",
    "no-table": "En este equipo no se puede contar: su archivo es de otro programa.", busy: "El equipo está ocupado. Intente de nuevo.",
    "key-used": "Desde este formulario ya se guardó un conteo con otros números. ¿Guardar también este?",
    noanswer: "Este equipo no responde. Nada cambió. Intente de nuevo.", ask: "Revise este conteo", retrying: "reintentando",
  },
};

let language = localStorage.getItem("tt-language") ?? (navigator.language.startsWith("es") ? "es" : "en");

export const lang = () => language;
export const say = (key, ...values) => {
  const word = WORDS[language][key];
  return typeof word === "function" ? word(...values) : word ?? key;
};
export const digits = (number) => new Intl.NumberFormat(language).format(number);

// Puts the words of the chosen language into everything that is there already.
export function speak(chosen = language) {
  language = chosen;
  localStorage.setItem("tt-language", chosen);
  document.documentElement.lang = chosen;
  for (const one of document.querySelectorAll("[data-w]")) one.textContent = say(one.dataset.w);
  const other = document.querySelector("#language");
  other.textContent = say("language");
  other.lang = chosen === "en" ? "es" : "en";
}
