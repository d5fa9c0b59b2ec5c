"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const box = document.getElementById("tokens");
  if (!box) return;

  const UNITS = {
    entropy: ["entropy", "nats"], nucleus_entropy: ["nucleus entropy", "nats"], nucleus_size: ["nucleus size", "words"],
    logp: ["log-probability", "nats"], advantage: ["advantage", ""], covariance: ["covariance", ""],
  };
  const WORDS = { kept: "kept by the peak mask", clipped: "clipped: no gradient", penalised: "penalised" };
  const spoken = (name) => WORDS[name] || name.replaceAll("_", " ");
  const unit = (name) => (UNITS[name] && UNITS[name][1] ? ` ${UNITS[name][1]}` : "");
  const title = (name) => (UNITS[name] ? UNITS[name][0] : name.replaceAll("_", " "));
  const sorted = (kind) => [...new Set(data.rows.flatMap((r) => Object.keys(r[kind])))];
  const NUMBERS = sorted("numbers").sort((a, b) => (a in UNITS ? Object.keys(UNITS).indexOf(a) : 99) - (b in UNITS ? Object.keys(UNITS).indexOf(b) : 99));
  const LOOK = Object.fromEntries(sorted("marks").map((name, i) => [name, `m${i % 5}`]));
  const el = (id) => document.getElementById(id);
  const at = (row, name, i) => { const v = row.numbers[name]; return Array.isArray(v) ? v[i] : v; };
  const text = (v) => (v === null || v === undefined ? "–" : String(Math.round(v * 1e4) / 1e4));
  const make = (tag, cls, content) => {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    if (content !== undefined) node.textContent = content;
    return node;
  };

  // One scale for each number over all completions, so that shades compare between steps: its 98 % quantile
  const scale = {};
  for (const name of NUMBERS) {
    const all = [];
    for (const row of data.rows) row.tokens.forEach((_, i) => { const v = at(row, name, i); if (typeof v === "number") all.push(Math.abs(v)); });
    all.sort((a, b) => a - b);
    if (all.length) scale[name] = all[Math.floor(0.98 * (all.length - 1))] || all[all.length - 1] || 1;
  }

  const fill = (select, options, keep) => {
    const before = keep ? select.value : "";
    select.replaceChildren(...options.map(([value, label]) => { const o = make("option", "", label); o.value = value; return o; }));
    if (options.some(([value]) => String(value) === before)) select.value = before;
  };
  const unique = (values) => [...new Set(values)];
  const chosen = (...names) => data.rows.filter((row) =>
    (!names.includes("method") || row.method === el("f-method").value) &&
    (!names.includes("run") || String(row.run) === el("f-run").value) &&
    (!names.includes("step") || String(row.step) === el("f-step").value));

  let row = null, current = -1;

  function refill() {
    fill(el("f-run"), unique(chosen("method").map((r) => r.run)).map((r) => [r, data.runs[r]]), true);
    fill(el("f-step"), unique(chosen("method", "run").map((r) => r.step)).sort((a, b) => a - b).map((s) => [s, s]), true);
    const rows = chosen("method", "run", "step");
    fill(el("f-row"), rows.map((r, i) => [i, `${i + 1} of ${rows.length}, advantage ${Array.isArray(r.numbers.advantage) ? "per token" : text(r.numbers.advantage)}`]), true);
    row = rows[Number(el("f-row").value)] || rows[0];
    fill(el("f-shade"), [...NUMBERS.filter((f) => f in row.numbers).map((f) => [f, title(f)]), ["-", "nothing"]], true);
    fill(el("f-mark"), [["", "all"], ...Object.keys(row.marks).map((m) => [m, spoken(m)])], true);
    draw();
  }

  function draw() {
    const shade = el("f-shade").value, only = el("f-mark").value;
    const marked = {};
    for (const name of Object.keys(row.marks)) marked[name] = new Set(row.marks[name]);
    el("prompt").textContent = row.prompt;
    const nodes = row.tokens.map((token, i) => {
      // A line break is shown and kept; a token without text is a dot
      const node = make("span", "tok", token.replaceAll("\n", "↵\n") || "·");
      const value = at(row, shade, i);
      const level = typeof value === "number" ? Math.min(1, Math.abs(value) / scale[shade]) : 0;
      node.style.setProperty("--level", level.toFixed(2));
      if (value < 0) node.classList.add("neg");
      if (level > 0.7) node.classList.add("strong");
      for (const name of Object.keys(marked)) if (marked[name].has(i)) node.classList.add(LOOK[name]);
      if (only && !marked[only].has(i)) node.classList.add("off");
      node.id = `t${i}`;
      node.setAttribute("role", "option");
      node.setAttribute("aria-selected", "false");
      return node;
    });
    if (row.left_out) nodes.push(make("span", "gap", ` … ${row.left_out} more tokens`));
    box.replaceChildren(...nodes);
    current = -1;
    box.removeAttribute("aria-activedescendant");
    el("detail").replaceChildren(make("span", "", `${row.tokens.length} tokens at step ${row.step} of ${data.runs[row.run]} (${row.method}).`));
    legend(shade, marked);
    strongest(shade, marked);
  }

  function legend(shade, marked) {
    const parts = [];
    const add = (cls, sample, label, level) => {
      const part = make("span"), mark = make("span", `tok ${cls}`, sample);
      mark.style.setProperty("--level", level);
      part.append(mark, ` ${label}`);
      parts.push(part);
    };
    if (shade !== "-") add("", "word", `${title(shade)} 0`, 0);
    const signed = data.rows.some((r) => r.tokens.some((_, i) => at(r, shade, i) < 0));
    const positive = data.rows.some((r) => r.tokens.some((_, i) => at(r, shade, i) > 0));
    if (positive) add("strong", "word", `${text(scale[shade])}${unit(shade)} and more`, 1);
    if (signed) add("neg strong", "word", `−${text(scale[shade])}${unit(shade)} and less`, 1);
    for (const name of Object.keys(marked)) add(LOOK[name], "word", `${spoken(name)} (${marked[name].size})`, 0);
    el("legend").replaceChildren(...parts);
  }

  function strongest(shade, marked) {
    const numbers = NUMBERS.filter((f) => f in row.numbers);
    const order = row.tokens.map((_, i) => i).sort((a, b) => Math.abs(at(row, shade, b) || 0) - Math.abs(at(row, shade, a) || 0)).slice(0, 20);
    const table = make("table"), head = make("tr");
    for (const name of ["place", "token", ...numbers.map(title), "marks"]) { const th = make("th", "", name); th.scope = "col"; head.append(th); }
    const thead = make("thead"), body = make("tbody");
    thead.append(head);
    for (const i of order) {
      const tr = make("tr");
      tr.append(make("td", "n", i + 1), make("td", "", JSON.stringify(row.tokens[i])), ...numbers.map((f) => make("td", "n", text(at(row, f, i)))),
        make("td", "", Object.keys(marked).filter((m) => marked[m].has(i)).map(spoken).join(", ")));
      body.append(tr);
    }
    table.append(thead, body);
    el("strongest").replaceChildren(table);
  }

  function show(i, scroll) {
    if (i < 0 || i >= row.tokens.length) return;
    if (current >= 0) box.children[current].setAttribute("aria-selected", "false");
    current = i;
    const node = box.children[i];
    node.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", node.id);
    if (scroll) node.scrollIntoView({ block: "nearest" });
    const parts = [make("b", "", `${i + 1}: ${JSON.stringify(row.tokens[i])}`)];
    for (const name of NUMBERS) if (name in row.numbers) parts.push(make("span", "", `${title(name)} ${text(at(row, name, i))}${unit(name)}`));
    for (const name of Object.keys(row.marks)) if (row.marks[name].includes(i)) parts.push(make("b", "", spoken(name)));
    el("detail").replaceChildren(...parts);
  }

  function nextMarked() {
    const every = unique(Object.values(row.marks).flat()).sort((a, b) => a - b);
    show(every.find((i) => i > current) ?? every[0] ?? current, true);
  }

  const place = (event) => { const node = event.target.closest(".tok"); return node ? Number(node.id.slice(1)) : -1; };
  box.addEventListener("pointerover", (event) => show(place(event), false));
  box.addEventListener("click", (event) => show(place(event), false));
  box.addEventListener("focus", () => { if (current < 0) show(0, false); });
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowRight: current + 1, ArrowDown: current + 10, ArrowLeft: current - 1, ArrowUp: current - 10, Home: 0, End: row.tokens.length - 1 };
    if (event.key === "m") nextMarked();
    else if (event.key in moves) show(Math.max(0, Math.min(row.tokens.length - 1, moves[event.key])), true);
    else return;
    event.preventDefault();
  });
  el("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["f-method", "f-run", "f-step", "f-row"]) el(id).addEventListener("change", refill);
  for (const id of ["f-shade", "f-mark"]) el(id).addEventListener("change", draw);
  fill(el("f-method"), unique(data.rows.map((r) => r.method)).map((m) => [m, m]), false);
  // Begin where a method left its marks
  const first = data.rows.find((r) => Object.values(r.marks).some((m) => m.length));
  if (first) el("f-method").value = first.method;
  refill();
})();
