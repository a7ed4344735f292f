/**
 * The admin's lists on a phone, where each row is a card: its values get the titles of their columns, and those that
 * are empty are hidden. Without it, the values stand alone.
 */
(() => {
  const EMPTY = "-";

  for (const table of document.querySelectorAll(".webpush-kit-list #result_list")) {
    const titles = Array.from(table.querySelectorAll("thead th"), (cell) => cell.textContent?.trim() ?? "");
    for (const row of table.querySelectorAll("tbody tr")) {
      for (const [number, cell] of Array.from(row.children).entries()) {
        if (cell.tagName !== "TD" || cell.matches(".action-checkbox, [data-label]")) continue;
        cell.setAttribute("data-webpush-kit-title", titles[number] ?? "");
        cell.classList.toggle("webpush-kit-empty", cell.textContent?.trim() === EMPTY);
      }
    }
  }
})();
