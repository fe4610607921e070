"""The page in a real browser: it shows what is there, reacts, and reaches nothing outside of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.report.conftest import Look, Opened, made
from tests.report.runs import EVIL, START, RunFiles, full_run, session
from tests.timeline.live import Live


def headings(opened: Opened) -> list[str]:
    return opened.page.evaluate(
        "[...document.querySelectorAll('section:not([hidden]) h2')].map(e => e.innerText)"
    )


def test_every_section_is_there_and_curves_are_drawn(report: Path, look: Look) -> None:
    """From one file, with no request but for that file."""
    opened = look(report)
    assert headings(opened) == [
        "Overview", "Metrics", "Time of a step", "Processes", "Sessions", "Distributions", "Samples",
        "Events", "Hosts", "Run",
    ]  # fmt: skip
    cards = opened.page.inner_text("#overview")
    for words in ("finished", "2 attempts", "59", "train/reward/total/mean", "Best eval/accuracy/mean",
                  "62.5 %", "at step 50", "Goodput", "63 %"):  # fmt: skip
        assert words in cards
    opened.until_drawn()
    longest = (
        "Math.max(...[...document.querySelectorAll('#metrics path.js-line')].map(e => e.getTotalLength()))"
    )
    assert opened.page.evaluate(longest) > 200
    assert "process 11" in opened.page.inner_text("#processes")
    assert [url for url in opened.requests if not url.startswith("file:")] == []


def test_every_drawing_is_made_as_it_comes_into_view_and_let_go_as_it_leaves(
    report: Path, look: Look
) -> None:
    opened = look(report)
    opened.until_drawn()
    opened.page.evaluate("document.getElementById('facts').scrollIntoView()")
    opened.until("document.querySelectorAll('#metrics .plot svg').length === 0")
    for part in ("time", "processes", "sessions", "distributions", "problems"):
        opened.page.evaluate(f"document.getElementById('{part}').scrollIntoView()")
        opened.until(f"document.querySelector('#{part} .plot svg.main-svg') !== null")


def test_metrics_are_searched_by_words_and_by_patterns(report: Path, look: Look) -> None:
    opened = look(report)
    names = "[...document.querySelectorAll('#metrics .chart h4')].map(e => e.title)"
    assert "time/train/rollout_s_slowest" not in opened.page.evaluate(names)
    opened.page.fill("#metric-search", "rollout SLOW")
    opened.until(f"{names}.length === 1")
    assert opened.page.evaluate(names) == ["time/train/rollout_s_slowest"]
    opened.page.check("text=regex")
    opened.page.fill("#metric-search", "^train/l[or]")
    opened.until(f"{names}.length === 2")
    opened.page.fill("#metric-search", "(")
    opened.until("document.querySelector('#metric-search').getAttribute('aria-invalid') === 'true'")


def test_smoothing_moves_the_curve_and_leaves_the_raw_one(report: Path, look: Look) -> None:
    opened = look(report)
    opened.page.fill("#metric-search", "train/loss")
    opened.until("document.querySelectorAll('#metrics .chart').length === 1")
    opened.until_drawn()
    lines = "[...document.querySelectorAll('#metrics .plot path.js-line')].map(e => e.getAttribute('d'))"
    before = opened.page.evaluate(lines)
    opened.page.evaluate(
        "s = document.getElementById('smoothing'); s.value = 0.95; s.dispatchEvent(new Event('input'))"
    )
    opened.until(f"(before => {lines}.at(-1) !== before)({before[-1]!r})")
    assert opened.page.evaluate(lines)[-2] == before[-2]  # the raw one
    opened.page.evaluate(
        "s = document.getElementById('smoothing'); s.value = 0; s.dispatchEvent(new Event('input'))"
    )
    opened.until(f"{lines}.length === {len(before) - 1}")


def test_all_curves_zoom_together_and_back(report: Path, look: Look) -> None:
    opened = look(report)
    opened.until_drawn()
    plots = opened.page.locator("#metrics .plot .nsewdrag")
    box = plots.first.bounding_box()
    opened.page.mouse.move(box["x"] + 40, box["y"] + 40)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + 120, box["y"] + 45, steps=5)
    opened.page.mouse.up()
    ranges = (
        "[...document.querySelectorAll('#metrics .js-plotly-plot')].filter(e => e._fullLayout)"
        ".map(e => e._fullLayout.xaxis.range.map(x => Math.round(x)).join())"
    )
    opened.until("document.body.classList.contains('zoomed')")
    opened.until(f"(r => r.length > 2 && new Set(r).size === 1)({ranges})")
    assert opened.page.evaluate(ranges)[0] != "0,59"
    opened.page.keyboard.press("Escape")
    opened.until("!document.body.classList.contains('zoomed')")


CONTRAST = """(one, other) => {
    const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map(Number)
        .map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05); }"""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metrics that begin late and have few values, many warnings around an error, stages of one kind."""
    folder = tmp_path_factory.mktemp("uneven")
    run = RunFiles(folder / "run")
    run.begin(name="uneven")
    run.time += 3
    accuracy = (0.2, 0.5, 0.61, 0.7, 0.8, 0.89)
    for step in range(60):
        values: dict[str, float | None] = {
            "train/loss": 1 / (step + 1), "time/train/generate_s": 0.3, "time/train/rollout_s": 0.2,
            "time/train/update_s": 0.25, "time/train/score_s": 0.05,
        }  # fmt: skip
        if step % 10 == 9:
            values["eval/accuracy"] = accuracy[step // 10]
        if step >= 57:
            values["obs/nonfinite"] = 1.0
        run.commit(step, values)
        if step == 9:
            rows = [{"process": 0, "n": 0}]
            run.say("sample", seq=run.seq, step=9, k=0, table="rollouts", recorded=600, rows=rows)
    run.time += 16
    run.finish()
    warnings = [{"time": START + i / 100, "level": "WARNING", "message": f"retry {i}"} for i in range(6000)]
    error = {"time": START + 30.001, "level": "ERROR", "message": "THE ONE ERROR", "step": 15}
    run.log(0, *warnings[:3000], error, *warnings[3000:])
    run.samples("rollouts", 0, [{"step": 9, "n": n} for n in range(600)])
    run.sessions(0, [session(f"s{n}", n, 4.0) for n in range(5)])
    run.facts(git=None, started=START, config={"git": None, "started": 5}, attempt=1)
    return made(folder, run)


def test_the_only_error_among_thousands_of_warnings_is_counted_and_shown(uneven: Path, look: Look) -> None:
    opened = look(uneven)
    card = opened.page.locator("#overview .card", has_text="Trouble").inner_text()
    assert "6,001" in card
    assert "1 error, 6,000 warnings" in card
    assert "error 1" in opened.page.inner_text("#problems .tabs")
    assert "warning 6,000" in opened.page.inner_text("#problems .tabs")
    assert "5,000 warnings more" in opened.page.inner_text("#problems .note")
    opened.page.locator("#problems button", has_text="warning").click()
    assert "THE ONE ERROR" in opened.page.inner_text("#problems tbody")


def test_every_kind_of_trouble_is_named_the_gravest_first(report: Path, look: Look) -> None:
    opened = look(report)
    card = opened.page.locator("#overview .card", has_text="Trouble").inner_text()
    named = [re.sub(r"^[0-9,]+ ", "", each) for each in card.splitlines()[-1].split(", ")]
    assert named == [
        "crash", "stall", "loss of processes", "non-finite value", "warnings", "late snapshot",
    ]  # fmt: skip


def test_an_attempt_that_was_killed_has_a_row_that_says_when_it_was_heard_of(
    report: Path, look: Look
) -> None:
    """By the clock of whoever reads it."""
    page = look(report, timezone_id="Asia/Tokyo").page
    page.locator("#problems .table input").fill("without saying so")
    shown = page.locator("#problems tbody tr", has_text="ended without saying so").inner_text()
    assert re.search(r"2023-11-15 (07:\d\d:\d\d)\s.*attempt 1 ended without saying so; last heard \1", shown)


def test_a_run_without_a_commit_says_so_at_its_top(tmp_path: Path, look: Look) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.finish()
    note = look(made(tmp_path, run)).page.inner_text("#overview .note")
    assert note.startswith("No commit: the run ended before its first one")


@pytest.mark.parametrize("height", [900, 2400])
def test_the_navigation_marks_the_overview_at_the_top_of_the_page(
    tmp_path: Path, look: Look, height: int
) -> None:
    """And what is read elsewhere."""
    opened = look(made(tmp_path, full_run(tmp_path / "run")), viewport={"width": 1280, "height": height})
    marked = "[...document.querySelectorAll('nav [aria-current]')].map(e => e.innerText).join()"
    opened.until(f"{marked} === 'Overview'")
    opened.page.evaluate("document.getElementById('samples').scrollIntoView()")
    opened.until(f"{marked} !== 'Overview' && {marked} !== ''")
    opened.page.evaluate("scrollTo(0, 0)")
    opened.until(f"{marked} === 'Overview'")


def test_a_long_list_is_one_setting_and_opens_in_part(tmp_path: Path, look: Look) -> None:
    """So that it hides no other one, neither where runs differ nor in the run's own configuration."""
    first = full_run(tmp_path / "first", ids=list(range(3000)), lr=0.1)
    second = full_run(tmp_path / "second", ids=[1], lr=0.2, **{f"z{n}": n for n in range(700)})
    page = look(made(tmp_path, first, second)).page
    names = page.locator("#overview table.mono tbody th").all_inner_texts()
    assert names[:2] == ["ids", "lr"]
    assert len(names) == 500
    caption = page.inner_text("#overview table.mono caption")
    assert "702 of 704 settings" in caption
    assert "the first 500" in caption
    assert page.evaluate("document.getElementById('facts').offsetHeight") < 3000
    page.locator("#facts summary", has_text="ids").click()
    lines = page.locator("#facts details", has=page.locator("summary", has_text="ids")).locator("li")
    assert lines.count() == 100
    page.get_by_role("button", name="Show 2,900 more").click()
    assert lines.count() == 3000


def test_a_reward_that_is_not_finite_leaves_its_column_one_of_numbers(tmp_path: Path, look: Look) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    run.say("sample", seq=1, step=0, k=0, table="t", recorded=5, rows=[])
    rewards = (0.5, "nan", 0.25, "-inf", 10.0)
    run.samples("t", 0, [{"step": 0, "text": "nan", "reward": reward} for reward in rewards])
    run.finish()
    page = look(made(tmp_path, run)).page
    cells = "[...document.querySelectorAll('#samples td[data-name=reward]')].map(e => e.innerText.trim())"
    assert page.locator("#samples td[data-name=reward].num").count() == 5
    assert page.locator("#samples td[data-name=reward].shaded").count() == 3
    assert page.locator("#samples td[data-name=text].num").count() == 0
    page.locator("#samples").get_by_role("button", name="reward", exact=True).click()
    assert page.evaluate(cells)[-4:] == ["10", "0.5", "0.25", "−∞"]


def test_where_the_wall_time_goes_has_what_is_outside_of_steps(uneven: Path, look: Look) -> None:
    """3 s of set-up, a minute of steps, 17 s until the end."""
    opened = look(uneven)
    cards = opened.page.inner_text("#overview .cards")
    assert "80 s" in cards
    assert "60 %" in opened.page.locator("#overview .card", has_text="Goodput").inner_text()
    shares = opened.page.inner_text("#overview .shares")
    assert "outside of steps" in shares
    shown = [float(each) for each in re.findall(r"([0-9.]+) %", shares)]
    assert sum(shown) == pytest.approx(100, abs=1.5)


def test_stages_of_no_kind_are_told_beside_goodput(tmp_path: Path, look: Look) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(10):
        run.commit(step, {"time/rl/xyz_s": 0.8, "time/rl/update_s": 0.1})
    run.finish()
    card = look(made(tmp_path, run)).page.locator("#overview .card", has_text="Goodput").inner_text()
    assert "of the wall time goes into training" in card
    assert "is in stages of no known kind (xyz)" in card


def test_a_longest_step_of_short_parts_says_what_they_add_up_to(tmp_path: Path, look: Look) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"train/loss": 1.0})
    run.finish()
    live = Live(run.path)
    for i in range(400):
        live.span(f"token {i % 4}", i * 10, 9, args={"step": 0})
    live.span("step", 0, 4000, cat="step", args={"step": 0}).write()
    said = look(made(tmp_path, run)).page.inner_text("#time")
    assert "waited for: 800 short parts: token" in said
    assert "token 3 900 µs (process 0)" in said


def test_what_is_left_out_of_a_sample_table_can_be_had(uneven: Path, look: Look) -> None:
    opened = look(uneven)
    lead = opened.page.inner_text("#samples .lead")
    assert lead.startswith("500 of 600 recorded rows of rollouts")
    assert "sightline export" in lead
    assert "--samples rollouts" in lead


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_waiting_sessions_are_seen_and_their_legend_has_their_colour(
    uneven: Path, look: Look, scheme: str
) -> None:
    opened = look(uneven, color_scheme=scheme)
    opened.page.evaluate("document.querySelector('#sessions .chart.is-wide').scrollIntoView()")
    opened.until("document.querySelectorAll('#sessions .chart.is-wide .bars path').length > 0")
    bar, dot, ground = opened.page.evaluate(
        """() => { const host = document.querySelector('#sessions .chart.is-wide'); return [
        getComputedStyle(host.querySelector('.bars .point path')).fill,
        getComputedStyle(host.querySelector('.legend i')).backgroundColor,
        getComputedStyle(host).backgroundColor]; }"""
    )
    assert bar == dot
    assert opened.page.evaluate(f"([one, other]) => ({CONTRAST})(one, other)", [bar, ground]) >= 3


def test_few_values_are_drawn_as_they_are_and_all_charts_have_one_range(uneven: Path, look: Look) -> None:
    """Also those of a metric that begins late."""
    opened = look(uneven)
    opened.until_drawn()
    opened.page.evaluate("scrollTo(0, 0); document.getElementById('metrics').scrollIntoView()")
    charts = (
        "Object.fromEntries([...document.querySelectorAll('#metrics article.chart')].filter(e => "
        "e.querySelector('.js-plotly-plot')?._fullLayout).map(e => [e.querySelector('h4').title, "
        "e.querySelector('.js-plotly-plot')]).map(([name, plot]) => "
        "[name, [plot._fullLayout.xaxis.range, plot.data.map(each => Array.from(each.y).at(-1))]]))"
    )
    opened.until(f"'eval/accuracy' in {charts} && 'train/loss' in {charts}")
    opened.page.evaluate("document.querySelector('h4[title=\"obs/nonfinite\"]').scrollIntoView()")
    opened.until(f"'obs/nonfinite' in {charts}")
    late = opened.page.evaluate(charts)["obs/nonfinite"]
    opened.page.evaluate("document.querySelector('h4[title=\"eval/accuracy\"]').scrollIntoView()")
    opened.until(f"'eval/accuracy' in {charts} && 'train/loss' in {charts}")
    found = opened.page.evaluate(charts)
    assert found["eval/accuracy"][1] == pytest.approx([0.89])  # no smoothed one beside it
    assert len(found["train/loss"][1]) == 2
    assert late[0] == found["eval/accuracy"][0] == found["train/loss"][0]
    low, high = late[0]
    assert -3 < low < 0
    assert 59 < high < 62


def test_a_stage_has_the_colour_of_its_kind_wherever_it_is(uneven: Path, look: Look) -> None:
    """Where several are of a kind the later ones are shades of it."""
    opened = look(uneven)
    opened.page.evaluate("document.getElementById('time').scrollIntoView()")
    opened.until("document.querySelectorAll('#time .js-plotly-plot .scatterlayer .trace').length > 0")
    drawn, legend, kinds, style = opened.page.evaluate(
        """() => { const plot = document.querySelector('#time .js-plotly-plot');
        const rgb = hex => { const [r, g, b] = [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
          return `rgb(${r}, ${g}, ${b})`; };
        const dots = (rows, name) => Object.fromEntries([...document.querySelectorAll(rows)].map(e => [
          name(e), getComputedStyle(e.querySelector('i')).backgroundColor]));
        return [Object.fromEntries(plot.data.map(e => [e.name, rgb(e.line.color)])),
          dots('#time .legend li', e => e.innerText),
          dots('#time tbody tr', e => e.querySelector('td').innerText),
          dots('#overview .legend li', e => e.innerText.replace(/ ?[<0-9.]+ %.*/s, '').trim())]; }"""
    )
    assert drawn == legend
    for stage, kind in {"update": "training", "generate": "rollouts", "score": "reward"}.items():
        assert drawn[stage] == kinds[stage] == style[kind], stage
    assert kinds["rollout"] == style["rollouts"]
    assert len(set(drawn.values())) == len(drawn)


def test_facts_are_told_in_words_and_settings_as_they_are(uneven: Path, look: Look) -> None:
    opened = look(uneven, timezone_id="UTC")
    configured, facts = (each.inner_text() for each in opened.page.locator("#facts .tree").all())
    assert "2023-11-14 22:13:20" in facts
    assert "no repository" in facts
    assert "null" in configured
    assert "no repository" not in configured


def test_the_axis_may_be_of_time(report: Path, look: Look) -> None:
    opened = look(report)
    opened.until_drawn()
    for name, kind in (("time", "date"), ("relative", "linear")):
        opened.page.check(f"input[name=axis][value={name}]", force=True)
        opened.until(
            f"[...document.querySelectorAll('#metrics .js-plotly-plot')].some(e => e._fullLayout"
            f" && e._fullLayout.xaxis.type === '{kind}')"
        )
    opened.page.check("text=log y")
    opened.until(
        "[...document.querySelectorAll('#metrics .js-plotly-plot')].some(e => e._fullLayout"
        " && e._fullLayout.yaxis.type === 'log')"
    )


def test_sample_tables_are_searched_sorted_paged_and_opened(report: Path, look: Look) -> None:
    opened = look(report)
    part = opened.page.locator("#samples")
    assert part.locator("tbody tr.opens").count() == 10
    part.get_by_role("button", name="Next page").click()
    assert part.locator(".count").inner_text() == "11–20 of 21"
    part.get_by_role("button", name="reward", exact=True).click()
    rewards = "[...document.querySelectorAll('#samples td.shaded')].map(e => Number(e.innerText))"
    shown = opened.page.evaluate(rewards)
    assert shown == sorted(shown, reverse=True)
    assert opened.page.evaluate(
        "getComputedStyle(document.querySelector('#samples td.shaded')).backgroundColor"
    )
    part.locator("input").fill("question 20")
    opened.until("document.querySelector('#samples .count').innerText === '3'")
    part.get_by_role("button", name="Open row").first.click()
    assert "<think>the 20th\nanswer</think>" in part.locator("tr.detail").inner_text()


def test_what_went_wrong_is_on_one_axis_and_in_one_table(report: Path, look: Look) -> None:
    opened = look(report)
    kinds = opened.page.inner_text("#problems .tabs")
    for kind in (
        "stall 1",
        "missing 1",
        "non-finite",
        "late 1",
        "warning 16",
        "attempt 2",
        "crash 1",
        "end 1",
    ):
        assert kind in kinds
    opened.page.locator("#problems .table input").fill("process 7 missing")
    opened.until("document.querySelector('#problems .table .count').innerText === '1'")


def test_hosts_are_told_in_units_that_people_read(tmp_path: Path, look: Look) -> None:
    run = RunFiles(tmp_path / "run", processes=2)
    run.begin()
    for step in range(8):
        by_process = {
            "host/process/rss_bytes": [2e9, (3.0 + step) * 1e9],
            "host/machine/received_bytes_per_s": [2.5e6, 1e6],
            "host/machine/cpu_fraction": [0.25, 0.5],
        }
        values = {f"{key}/mean": sum(row) / 2 for key, row in by_process.items()}
        run.commit(step, values, by_process=by_process)
    opened = look(made(tmp_path, run))
    shown = opened.page.inner_text("#hosts table").replace("\xa0", " ")
    assert "10 GB" in shown
    assert "2.5 MB/s" in shown
    assert "50 %" in shown
    opened.page.evaluate("document.getElementById('hosts').scrollIntoView()")
    opened.until("document.querySelectorAll('#hosts .plot .scatterlayer path.js-line').length >= 6")


def test_who_is_out_stands_at_the_top_and_on_the_axis_of_time(tmp_path: Path, look: Look) -> None:
    run = RunFiles(tmp_path / "run", processes=4)
    run.begin()
    for step in range(20):
        missing = {"missing": [3]} if step == 5 else {}
        run.commit(step, {"a": 1.0}, expected=4, reported=4 if step < 5 else 3, **missing)
    opened = look(made(tmp_path, run))
    cards = opened.page.inner_text("#overview .cards")
    assert "3 of 4" in cards
    assert "process 3 is out since step 5: metrics are of 3 of 4 processes" in cards
    opened.page.get_by_role("link", name="process 3 is out").click()
    opened.until("document.querySelector('#problems .plot svg.main-svg') !== null")
    drawn = "document.querySelector('#problems .js-plotly-plot').data"
    bars = f"{drawn}.filter(e => e.mode === 'lines').map(e => e.y[0])"
    assert opened.page.evaluate(bars) == ["missing"]
    assert "is out since step 5" in opened.page.inner_text("#problems tbody")


def test_hostile_texts_neither_run_nor_break_anything(tmp_path: Path, look: Look) -> None:
    """In keys, names of runs and tables, columns, samples, log lines, sessions, configuration, events."""
    run = full_run(tmp_path / "<img src=x onerror=window.pwned=8>\u202e", evil=True)
    other = full_run(tmp_path / "%{x} <b>bold</b>", seed=1, evil=True)
    opened = look(made(tmp_path, run, other))
    assert opened.page.evaluate("document.querySelectorAll('script').length") <= 4
    opened.until_drawn()
    for part in ("metrics", "time", "processes", "sessions", "distributions", "samples", "problems", "facts"):
        opened.page.evaluate(f"document.getElementById('{part}').scrollIntoView()")
        if part in ("sessions", "distributions", "problems", "processes"):
            opened.until(f"document.querySelector('#{part} .plot svg.main-svg') !== null")
        for button in opened.page.locator(f"#{part} button.open").all()[:4]:
            button.click()
        plot = opened.page.locator(f"#{part} .plot .nsewdrag").first
        if part != "samples" and plot.count():
            plot.scroll_into_view_if_needed()
            plot.hover(force=True)
    shown = opened.page.inner_text("#samples tr.detail")
    for text in EVIL[:6]:
        assert text in shown
    for code in ("U+2028", "U+202E", "U+200B", "U+001B", "U+0000"):
        assert code in shown
    opened.page.fill("#metric-search", "evil/")
    opened.until("document.querySelectorAll('#metrics .chart').length >= 8")
    assert opened.page.evaluate("window.pwned") is None
    assert (
        opened.page.evaluate(
            "document.querySelectorAll('img, a[href^=\"javascript\"], iframe, object').length"
        )
        == 0
    )
    assert (
        opened.page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
            ".filter(a => a.name.startsWith('on')).length"
        )
        == 0
    )


def test_a_text_of_a_megabyte_is_folded_until_somebody_wants_all_of_it(tmp_path: Path, look: Look) -> None:
    """In the table, in the row when it is opened, and among the run's texts; with the keyboard too."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    long = "word " * 199_999 + "\U0001f600 end"
    run.commit(0, {"train/loss": 1.0}, texts={"note": long})
    rows = [{"process": 0, "completion": long, "reward": 1.0}]
    run.say("sample", seq=1, step=0, k=0, table="long", recorded=1, rows=rows)
    for width in (390, 1280):
        opened = look(made(tmp_path, run), viewport={"width": width, "height": 844})
        assert len(opened.page.inner_text("#samples tbody")) < 2000
        opened.page.locator("#samples button.open").click()
        assert opened.page.locator("#samples tr.detail").bounding_box()["height"] < 900
        for part, text in (("samples", "#samples pre"), ("facts", "#facts .leaf.string")):
            if part == "facts":
                closed = "document.querySelectorAll('#facts details')"
                opened.page.evaluate(f"{closed}.forEach(e => e.open = true)")
            shown = f"document.querySelector({text!r}).textContent"
            assert opened.page.evaluate(f"{shown}.length") < 5000
            more = opened.page.locator(f"#{part} button.fold")
            assert more.inner_text() == "Show all 1,000,001 characters"
            assert more.get_attribute("aria-expanded") == "false"
            more.focus()
            opened.page.keyboard.press("Enter")
            assert opened.page.evaluate(shown) == long
            assert more.get_attribute("aria-expanded") == "true"
            assert opened.page.evaluate("document.activeElement.className") == "fold"
            more.click()
            assert opened.page.evaluate(f"{shown}.length") < 5000


def test_runs_side_by_side(tmp_path: Path, look: Look) -> None:
    """Curves are laid over each other, each can be left out, and what differs in the settings is told."""
    runs = full_run(tmp_path / "before", lr=0.1), full_run(tmp_path / "after", seed=1, lr=0.3)
    opened = look(made(tmp_path, *runs), viewport={"width": 390, "height": 844})
    for which in ("#overview table.plain:not(.mono)", "#overview table.mono"):
        assert opened.page.locator(which).bounding_box()["width"] > 300
    opened = look(made(tmp_path, *runs))
    table = opened.page.inner_text("#overview table.mono")
    assert "lr" in table
    assert "0.1" in table
    assert "0.3" in table
    assert "width" not in table
    opened.page.fill("#metric-search", "train/lr")
    opened.until_drawn()
    lines = "document.querySelectorAll('#metrics .plot path.js-line').length"
    opened.until(f"document.querySelectorAll('#metrics .chart').length === 1 && {lines} >= 2")
    before = opened.page.evaluate(lines)
    opened.page.locator("button.run").first.click()
    opened.until(f"{lines} < {before}")
    opened.page.select_option("#runs select", label="after")
    assert "of after" in opened.page.inner_text("#overview")


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_run_of_hardly_any_steps_has_a_page(tmp_path: Path, look: Look, steps: int) -> None:
    run = RunFiles(tmp_path / "run")
    run.begin()
    for step in range(steps):
        run.commit(step, {"train/loss": 1.0, "time/train/update_s": 0.5})
    opened = look(made(tmp_path, run))
    assert "crashed" in opened.page.inner_text("#overview")
    assert headings(opened)[-2:] == ["Events", "Run"]
    if steps:
        opened.page.evaluate("document.getElementById('metrics').scrollIntoView()")
        opened.until("document.querySelector('#metrics .plot svg.main-svg') !== null")


def test_prints_what_was_not_in_view(report: Path, look: Look, tmp_path: Path) -> None:
    opened = look(report)
    opened.until_drawn()
    data = opened.page.pdf(path=tmp_path / "report.pdf")
    assert data.startswith(b"%PDF")
    assert len(data) > 50_000
