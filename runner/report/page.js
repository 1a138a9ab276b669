/* The report page's own script: theme, local times, and a file table that draws only the rows in view.
   Rows are plain arrays (see _row_lines in as_html.py); text reaches the page as textContent only. */
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const byId = (id) => document.getElementById(id);

  /* Theme: the system's, until the button says otherwise. */
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  const themeButton = byId("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);
  const nameTheme = () => { themeButton.textContent = isDark() ? "Light" : "Dark"; };
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  systemDark.addEventListener("change", nameTheme);
  nameTheme();

  /* Instants stand in UTC; the reader's own time follows, for page and dialog alike. */
  const localTime = (milliseconds) =>
    new Date(milliseconds).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const element of document.querySelectorAll("time[datetime]")) {
    const milliseconds = Date.parse(element.dateTime);
    if (!Number.isNaN(milliseconds)) {
      const here = document.createElement("span");
      here.className = "local";
      here.textContent = ` (${localTime(milliseconds)} here)`;
      element.after(here);
    }
  }

  if (!byId("rows")) return;

  /* Rows, column by column: arrays of one type each are what makes 200,000 of them cheap. */
  const words = JSON.parse(byId("words").textContent);
  const rows = JSON.parse(byId("rows").textContent);
  const count = rows.length;
  const paths = new Array(count);
  const haystacks = new Array(count);
  const states = new Uint8Array(count);
  const kinds = new Int8Array(count);
  const sizes = new Float64Array(count);
  const durations = new Float64Array(count);
  const starts = new Float64Array(count);
  const actionWords = {
    create_directory: "+ create folder", copy: "+ copy", replace: "~ replace", set_attributes: "m metadata",
    link: "+ hard link", delete: "- delete", quarantine: "- quarantine",
  };
  let previous = "";
  for (let index = 0; index < count; index += 1) {
    const row = rows[index];
    const path = previous.slice(0, row[0]) + row[1];
    previous = path;
    paths[index] = path;
    states[index] = row[2];
    kinds[index] = row[3];
    sizes[index] = row[4];
    durations[index] = row[5];
    starts[index] = row[6];
    haystacks[index] = (row[9] ? `${path}\n${row[9]}\n${row[10] || ""}` : path).toLowerCase();
  }

  const formatSize = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let value = bytes;
    let unit = 0;
    while (value >= 1024 && unit < 4) { value /= 1024; unit += 1; }
    return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`;
  };
  const formatDuration = (milliseconds) => {
    if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
    if (milliseconds < 60000) return `${(milliseconds / 1000).toFixed(1)} s`;
    return `${Math.floor(milliseconds / 60000)} min ${Math.round((milliseconds % 60000) / 1000)} s`;
  };
  const utc = (milliseconds) => `${new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const startedAt = (index) => words.origin_ms + starts[index];
  const hasTime = (index) => kinds[index] >= 0 && rows[index][7] > 0;

  const columns = [
    { key: "state", label: "State", value: (index) => words.states[states[index]], rank: (index) => states[index] },
    {
      key: "action", label: "Action", value: (index) => actionWords[words.kinds[kinds[index]]] || "",
      rank: (index) => kinds[index],
    },
    { key: "path", label: "Path", value: (index) => paths[index], rank: null },
    {
      key: "size", label: "Size", number: true, descending: true,
      value: (index) => (kinds[index] < 0 ? "" : formatSize(sizes[index])), rank: (index) => sizes[index],
    },
    {
      key: "time", label: "Time", number: true, descending: true,
      value: (index) => (kinds[index] < 0 ? "" : formatDuration(durations[index])),
      rank: (index) => durations[index],
    },
    {
      key: "started", label: "Started (UTC)", value: (index) => (hasTime(index) ? utc(startedAt(index)).slice(5, 19) : ""),
      rank: (index) => starts[index],
    },
  ];

  /* One order per column, computed when first asked for; searching then only walks an order. */
  const orders = {};
  const orderOf = (column) => {
    if (!orders[column.key]) {
      const order = Uint32Array.from({ length: count }, (_, index) => index);
      if (column.rank) {
        const ranks = Float64Array.from(order, column.rank);
        order.sort((left, right) => ranks[left] - ranks[right] || left - right);
      } else {
        order.sort((left, right) => (paths[left] < paths[right] ? -1 : paths[left] > paths[right] ? 1 : left - right));
      }
      orders[column.key] = order;
    }
    return orders[column.key];
  };

  const search = byId("search");
  const action = byId("action");
  const grid = byId("grid");
  const head = byId("grid-head");
  const body = byId("grid-body");
  const matches = byId("matches");
  const view = { column: columns[0], descending: false, hidden: new Set(), shown: new Uint32Array(0), active: 0 };

  const select = () => {
    const began = performance.now();
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wantedKind = action.value === "" ? null : Number(action.value);
    const order = orderOf(view.column);
    const allowed = words.states.map((_, state) => !view.hidden.has(state));
    const shown = new Uint32Array(count);
    let found = 0;
    for (let position = 0; position < count; position += 1) {
      const index = order[view.descending ? count - 1 - position : position];
      if (!allowed[states[index]] || (wantedKind !== null && kinds[index] !== wantedKind)) continue;
      if (terms.every((term) => haystacks[index].includes(term))) { shown[found] = index; found += 1; }
    }
    view.shown = shown.subarray(0, found);
    view.active = 0;
    grid.scrollTop = 0;
    body.style.height = `${Math.max(found, 1) * rowHeight()}px`;
    grid.setAttribute("aria-rowcount", String(found + 1));
    matches.textContent = found === count
      ? `${count.toLocaleString()} rows` : `${found.toLocaleString()} of ${count.toLocaleString()} rows`;
    draw();
    grid.dataset.searchMilliseconds = (performance.now() - began).toFixed(1);
  };

  /* Drawing: as many row elements as fit, moved and refilled. */
  const rowHeight = () => 32;
  const pool = [];
  const makeRow = () => {
    const element = document.createElement("div");
    element.className = "grid-row";
    element.setAttribute("role", "row");
    for (const column of columns) {
      const cell = document.createElement("div");
      cell.className = `cell cell-${column.key}`;
      cell.setAttribute("role", "gridcell");
      cell.append(document.createElement(column.key === "path" ? "bdi" : "span"));
      element.append(cell);
    }
    body.append(element);
    return element;
  };
  const fill = (element, position) => {
    const index = view.shown[position];
    element.hidden = false;
    element.id = `row-${position}`;
    element.style.transform = `translateY(${position * rowHeight()}px)`;
    element.setAttribute("aria-rowindex", String(position + 2));
    element.setAttribute("aria-selected", String(position === view.active));
    element.dataset.position = String(position);
    columns.forEach((column, number) => {
      const text = column.value(index);
      const holder = element.children[number].firstChild;
      if (holder.textContent !== text) holder.textContent = text;
      if (column.key === "state") holder.className = `badge state-${text}`;
    });
    element.children[2].title = rows[index][9] ? `${paths[index]}\n${rows[index][9]}: ${rows[index][10] || ""}` : paths[index];
  };
  const draw = () => {
    const height = rowHeight();
    const first = Math.max(0, Math.floor(grid.scrollTop / height) - 6);
    const last = Math.min(view.shown.length, Math.ceil((grid.scrollTop + grid.clientHeight) / height) + 6);
    while (pool.length < last - first) pool.push(makeRow());
    pool.forEach((element, slot) => {
      if (first + slot < last) fill(element, first + slot);
      else { element.hidden = true; element.removeAttribute("id"); }
    });
    if (view.shown.length) grid.setAttribute("aria-activedescendant", `row-${view.active}`);
    else grid.removeAttribute("aria-activedescendant");
  };
  const moveTo = (position) => {
    if (!view.shown.length) return;
    view.active = Math.min(Math.max(position, 0), view.shown.length - 1);
    const height = rowHeight();
    const top = view.active * height;
    const room = grid.clientHeight - head.offsetHeight - height;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top > grid.scrollTop + room) grid.scrollTop = top - room;
    draw();
  };

  /* Everything about one row, in a dialog. */
  const open = (position) => {
    const index = view.shown[position];
    if (index === undefined) return;
    const row = rows[index];
    byId("detail-path").textContent = paths[index];
    const facts = [["State", words.states[states[index]]]];
    if (kinds[index] >= 0) {
      facts.push(["Action", actionWords[words.kinds[kinds[index]]]]);
      facts.push(["Bytes written", `${sizes[index].toLocaleString()} (${formatSize(sizes[index])})`]);
      facts.push(["Time taken", formatDuration(durations[index])]);
      if (hasTime(index)) facts.push(["Started", `${utc(startedAt(index))} (${localTime(startedAt(index))} here)`]);
      facts.push(["Attempts", String(row[7])]);
    }
    facts.push(["Digest", row[8]], ["Code", row[9]], ["Message", row[10]], ["Agent", row[11]]);
    const list = byId("detail-facts");
    list.replaceChildren();
    for (const [name, value] of facts) {
      if (!value) continue;
      const term = document.createElement("dt");
      const definition = document.createElement("dd");
      term.textContent = name;
      definition.textContent = value;
      list.append(term, definition);
    }
    byId("detail").showModal();
  };

  /* Head with sort buttons, chips with counts, the list of actions. */
  const sortBy = (column, descending) => {
    view.column = column;
    view.descending = descending;
    for (const [number, cell] of [...head.children].entries()) {
      const sorted = columns[number] === column;
      cell.setAttribute("aria-sort", sorted ? (descending ? "descending" : "ascending") : "none");
    }
    select();
  };
  for (const column of columns) {
    const cell = document.createElement("div");
    const button = document.createElement("button");
    cell.className = `cell cell-${column.key}`;
    cell.setAttribute("role", "columnheader");
    button.type = "button";
    button.textContent = column.label;
    button.addEventListener("click", () =>
      sortBy(column, view.column === column ? !view.descending : Boolean(column.descending)));
    cell.append(button);
    head.append(cell);
  }
  const stateCounts = new Array(words.states.length).fill(0);
  for (const state of states) stateCounts[state] += 1;
  const chips = words.states.map((name, state) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = `${name} ${stateCounts[state].toLocaleString()}`;
    chip.hidden = stateCounts[state] === 0;
    chip.addEventListener("click", () => {
      const only = words.states.every((_, other) => view.hidden.has(other) !== (other === state));
      showOnly(only ? null : new Set([state]));
    });
    byId("states").append(chip);
    return chip;
  });
  const showOnly = (wanted) => {
    view.hidden = new Set(wanted === null ? [] : words.states.map((_, state) => state).filter((state) => !wanted.has(state)));
    chips.forEach((chip, state) => chip.setAttribute("aria-pressed", String(wanted !== null && wanted.has(state))));
    select();
  };
  const kindsSeen = new Set(kinds);
  words.kinds.forEach((name, kind) => {
    if (!kindsSeen.has(kind)) return;
    const option = document.createElement("option");
    option.value = String(kind);
    option.textContent = actionWords[name];
    action.append(option);
  });

  search.addEventListener("input", select);
  action.addEventListener("change", select);
  let drawing = false;
  grid.addEventListener("scroll", () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => { drawing = false; draw(); });
  });
  window.addEventListener("resize", draw);
  body.addEventListener("click", (event) => {
    const element = event.target.closest(".grid-row");
    if (!element || window.getSelection().toString()) return;
    view.active = Number(element.dataset.position);
    draw();
    open(view.active);
  });
  grid.addEventListener("keydown", (event) => {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(grid.clientHeight / rowHeight()) - 2);
    const steps = {
      ArrowDown: () => moveTo(view.active + 1), ArrowUp: () => moveTo(view.active - 1),
      PageDown: () => moveTo(view.active + page), PageUp: () => moveTo(view.active - page),
      Home: () => moveTo(0), End: () => moveTo(view.shown.length - 1), Enter: () => open(view.active),
    };
    if (steps[event.key]) { event.preventDefault(); steps[event.key](); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || byId("detail").open;
    if (event.key === "/" && !typing) { event.preventDefault(); search.focus(); }
  });

  /* A link can carry a view: report.html#q=invoice&state=failed&sort=size */
  const fromLink = () => {
    const wanted = new URLSearchParams(window.location.hash.slice(1));
    search.value = wanted.get("q") || "";
    const column = columns.find((candidate) => candidate.key === wanted.get("sort")) || columns[0];
    const stateNames = (wanted.get("state") || "").split(",");
    const chosen = new Set(words.states.map((_, state) => state).filter((state) => stateNames.includes(words.states[state])));
    view.hidden = new Set();
    sortBy(column, Boolean(column.descending));
    if (chosen.size) showOnly(chosen);
    if (wanted.has("q") || wanted.has("state")) byId("files").scrollIntoView();
  };
  window.addEventListener("hashchange", fromLink);
  fromLink();
})();
