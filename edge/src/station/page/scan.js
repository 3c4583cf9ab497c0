// Barcode scanners type like keyboards, only faster, and end with Enter. Such a burst never stays in the field that
// had the focus: the field gets back what it had before, and the whole code goes to whoever knows what it means.
const PAUSE_MS = 100; // a longer pause begins something new; a shorter one may be a scanner that was held up
const FAST_MS = 45; // between two keys, on average over the code: a person needs twice that
const SHORT = 4; // fewer signs are a person who is quick with Enter

export function onScan(take) {
  let burst = null;
  addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return;
    const now = event.timeStamp;
    const goesOn = burst && now - burst.last <= PAUSE_MS;
    if (event.key.length === 1) {
      if (!goesOn) burst = { code: "", first: now, last: now, field: document.activeElement, before: valueOf(document.activeElement) };
      burst.code += event.key;
      burst.last = now;
    } else if (event.key === "Enter" && goesOn && burst.code.trim().length >= SHORT && (now - burst.first) / burst.code.length <= FAST_MS) {
      event.preventDefault();
      event.stopImmediatePropagation();
      const { field, before, code } = burst;
      burst = null;
      if (before !== null) {
        field.value = before;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      }
      take(code.trim(), field);
    } else if (event.key !== "Shift" && event.key !== "CapsLock") {
      burst = null;
    }
  }, true);
}

const valueOf = (field) => (field instanceof HTMLInputElement && field.type !== "radio") || field instanceof HTMLTextAreaElement ? field.value : null;
