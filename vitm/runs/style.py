"""How a report looks: readable on a phone and on paper, light and dark."""

CSS = """\
:root { color-scheme: light dark; --ground: #fcfcfb; --card: #ffffff; --ink: #1a1a19; --soft: #5a5955; --line: #dddbd5;
  --grid: #e8e6e1; --note: #fff4d6; --s0: #2a78d6; --s1: #d1521f; --s2: #138a5f; --s3: #9a6a00; --s4: #c2407a;
  --s5: #007300; --s6: #4a3aa7; --s7: #d03533; }
@media (prefers-color-scheme: dark) { :root { --ground: #161615; --card: #1f1f1e; --ink: #f2f1ee; --soft: #b4b2ab;
  --line: #3c3b38; --grid: #32312f; --note: #3a3118; --s0: #5a9ff0; --s1: #ee7a4c; --s2: #35b98a; --s3: #d9a02a;
  --s4: #e87ba4; --s5: #4cb84c; --s6: #a79df2; --s7: #f07c7b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(0.75rem, 3vw, 2rem) 4rem; max-width: 76rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; } h2 { font-size: 1.25rem; margin: 2.5rem 0 0.75rem; }
h3 { font-size: 1rem; margin: 1.75rem 0 0.5rem; } p, ul { margin: 0.5rem 0; } ul { padding-left: 1.25rem; }
a { color: inherit; } small, figcaption, caption, .soft { color: var(--soft); font-size: 0.875rem; }
.note { background: var(--note); border-left: 4px solid var(--s3); padding: 0.5rem 0.75rem; }
.key { display: inline-block; min-width: 1.6em; padding: 0 0.4em; border: 2px solid; color: var(--c);
  border-radius: 0.4em; text-align: center; font-weight: 700; }
ul.runs { list-style: none; padding: 0; } ul.runs li { margin: 0.4rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 0.5rem; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding: 0.5rem 0.75rem; } th, td { padding: 0.35rem 0.75rem; text-align: right;
  border-top: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 600; border-top: 0; }
tbody th { font-weight: 400; position: sticky; left: 0; background: var(--card); }
tr.ours :is(th, td) { font-weight: 700; }
table.wrap :is(th, td) { white-space: normal; text-align: left; position: static;
  overflow-wrap: anywhere; min-width: 6rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; } .charts figure { border: 1px solid var(--line); border-radius: 0.5rem; background: var(--card);
  padding: 0.5rem; } .charts figcaption { color: var(--ink); font-weight: 600; padding: 0 0.25rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .end { fill: var(--ink); font-weight: 700; } .grid { stroke: var(--grid); }
polyline { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
svg circle { fill: var(--c); stroke: none; }
.previews { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.75rem; }
.previews img { display: block; width: 100%; min-width: 46rem; height: auto; } details { margin: 0.75rem 0; }
summary { cursor: pointer; padding: 0.5rem 0; font-weight: 600; } pre { margin: 0; padding: 0.75rem; overflow-x: auto;
  font: 0.8125rem/1.45 ui-monospace, monospace; overflow-wrap: normal; }
:focus-visible { outline: 3px solid var(--s0); outline-offset: 2px; }
.s0 { --c: var(--s0); }
.s1 { --c: var(--s1); stroke-dasharray: 7, 3; }
.s2 { --c: var(--s2); stroke-dasharray: 2, 3; }
.s3 { --c: var(--s3); stroke-dasharray: 9, 3, 2, 3; }
.s4 { --c: var(--s4); stroke-dasharray: 4, 2; }
.s5 { --c: var(--s5); stroke-dasharray: 12, 4; }
.s6 { --c: var(--s6); stroke-dasharray: 1, 2; }
.s7 { --c: var(--s7); stroke-dasharray: 6, 2, 1, 2; }
@media print { .scroll { overflow: visible; } .previews img { min-width: 0; } }
"""
