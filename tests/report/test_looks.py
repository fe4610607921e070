"""How the page looks, and for whom: widths, light and dark, the keyboard, a screen reader, contrasts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.report.conftest import Look, made
from tests.report.runs import RunFiles, full_run


@pytest.mark.parametrize("width", [390, 700, 1000, 1280, 1900])
def test_cards_fill_their_rows_and_names_break_between_words(report: Path, look: Look, width: int) -> None:
    opened = look(report, viewport={"width": width, "height": 900})
    opened.until("document.querySelector('.cards').style.gridTemplateColumns !== ''")
    rows = opened.page.evaluate(
        """(() => { const found = {};
        for (const card of document.querySelectorAll('.card')) {
          const box = card.getBoundingClientRect();
          const row = found[Math.round(box.top)] ||= [box.left, box.right];
          row[0] = Math.min(row[0], box.left); row[1] = Math.max(row[1], box.right);
        } return Object.values(found).map((row) => row.map(Math.round)); })()"""
    )
    assert len({tuple(row) for row in rows}) == 1
    title = opened.page.locator(".card h3 span[title='train/reward/total/mean']")
    assert title.inner_text() == "train/reward/total/mean"
    assert title.locator("wbr").count() == 3


def test_light_and_dark(report: Path, look: Look) -> None:
    """As the system has it, until the reader says otherwise; that is remembered."""
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = look(report, color_scheme="light"), look(report, color_scheme="dark")
    first = light.page.evaluate(ground)
    assert first != dark.page.evaluate(ground)
    light.page.click("#theme")
    assert light.page.evaluate(ground) == dark.page.evaluate(ground)
    light.page.reload()
    light.page.wait_for_selector(".card")
    assert light.page.evaluate(ground) == dark.page.evaluate(ground)


def test_on_a_phone_the_page_does_not_scroll_sideways(report: Path, look: Look) -> None:
    opened = look(report, viewport={"width": 390, "height": 844})
    opened.until_drawn()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_phone_rows_are_blocks_that_can_be_read(tmp_path: Path, look: Look) -> None:
    """No column of letters, nothing to scroll sideways for; names, headings and roles are there."""
    run = full_run(tmp_path / "run")
    said = f"no container {'x' * 3000} end"
    run.log(0, {"time": run.time, "level": "ERROR", "logger": "rollout", "message": said})
    opened = look(made(tmp_path, run), viewport={"width": 390, "height": 844})
    page = opened.page
    assert (
        page.evaluate(
            "[...document.querySelectorAll('.table .scroll')]"
            ".filter(e => e.scrollWidth > e.clientWidth).length"
        )
        == 0
    )
    for part in ("problems", "samples", "sessions", "overview", "time"):
        widths = page.evaluate(
            f"[...document.querySelectorAll('#{part} td.wide:not(.nil)')]"
            ".map(e => e.getBoundingClientRect().width)"
        )
        assert widths
        assert min(widths) > 250
    heights = page.evaluate(
        "[...document.querySelectorAll('#problems tbody tr')].map(e => e.getBoundingClientRect().height)"
    )
    assert max(heights) < 420
    table = page.locator("#problems").get_by_role("table")
    assert table.get_by_role("columnheader").all_inner_texts() == [
        "time", "kind", "step", "process", "what", "times",
    ]  # fmt: skip
    row = table.get_by_role("row", name="process 7 missing")
    assert "20" in row.get_by_role("cell").all_inner_texts()
    label = "getComputedStyle(document.querySelector('#problems td.num:not(.nil)'), '::before').content"
    assert "process" in page.evaluate(label)
    table.get_by_role("button", name="kind").click()
    assert table.get_by_role("columnheader", name="kind").get_attribute("aria-sort") == "ascending"
    row = table.get_by_role("row", name="no container")
    row.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert "end" in page.inner_text("#problems tr.detail pre")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "what"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("lasted_s", [0.0, 0.02, 4.0, 9000.0, 4e6])
def test_labels_of_times_do_not_overlap_on_a_phone(tmp_path: Path, look: Look, lasted_s: float) -> None:
    """However short or long a run was: with one event, and with some of them."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    begun = run.time
    for at in range(5):
        run.commit(at, {"a": 1.0})
        run.time = begun + at * lasted_s / 4
        if lasted_s:
            run.say("event", event="sigterm", time=run.time)
    opened = look(made(tmp_path, run), viewport={"width": 390, "height": 844})
    opened.until_drawn()
    opened.page.evaluate("document.getElementById('problems').scrollIntoView()")
    ticks = "[...document.querySelectorAll('#problems .xtick text')]"
    opened.until(f"{ticks}.length > 0")
    boxes = opened.page.evaluate(
        f"{ticks}.map(tick => tick.getBoundingClientRect()).map(box => [box.left, box.right])"
    )
    assert boxes
    assert all(left > right for (_, right), (left, _) in itertools.pairwise(sorted(boxes)))


@pytest.mark.parametrize("width", [390, 1280])
def test_no_label_of_an_axis_is_cut(tmp_path: Path, look: Look, width: int) -> None:
    """Of small numbers, long ones, negative ones, late steps, and times."""
    run = RunFiles(tmp_path / "run", processes=3000)
    run.begin()
    for at in range(40):
        run.commit(
            12_345_000 + 40 * at,
            {"a/small": 1e-5 * (1 + at / 50), "a/large": 12_345_678.0 + at, "a/near": 1 + 1e-6 * at,
             "a/negative": -12_345_678.0 * at, "a/tiny": 1e-300 * at},
            by_process={"time/train/rollout_s": [1.0] * 3000},
        )  # fmt: skip
    opened = look(made(tmp_path, run), viewport={"width": width, "height": 844})
    cut = """(() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => {
        const box = plot.getBoundingClientRect();
        const ticks = [...plot.querySelectorAll('.xtick text, .ytick text')].filter(tick => {
          const style = getComputedStyle(tick); // one that would be cut at the right is left out
          return style.display !== 'none' && Number(style.opacity) > 0; });
        return ticks.map(tick => [tick.textContent, tick.getBoundingClientRect()])
          .filter(([, own]) => own.left < box.left - 0.5 || own.right > box.right + 0.5
            || own.bottom > box.bottom + 0.5).map(([text]) => text); }))()"""
    drawn = "document.querySelectorAll('#metrics .ytick text').length"
    for name in ("small", "large", "near", "negative", "tiny"):
        opened.page.fill("#metric-search", f"a/{name}")
        opened.until("document.querySelectorAll('#metrics .chart').length === 1")
        opened.until_drawn()
        opened.until(f"{drawn} > 1")
        assert opened.page.evaluate(cut) == []
        if name == "small":
            ticks = "[...document.querySelectorAll('#metrics .ytick text')].map(e => e.textContent)"
            assert opened.page.evaluate(ticks)[0] == "1e−5"
    opened.page.check("input[name=axis][value=time]", force=True)
    ticks = "[...document.querySelectorAll('#metrics .xtick text')]"
    opened.until(f"{ticks}.some(e => e.textContent.includes(':'))")
    assert opened.page.evaluate(cut) == []
    opened.page.evaluate("document.getElementById('processes').scrollIntoView()")
    opened.until("document.querySelectorAll('#processes .ytick text').length > 1")
    assert opened.page.evaluate(cut) == []


def test_an_open_row_is_as_wide_as_what_is_seen_of_its_table(tmp_path: Path, look: Look) -> None:
    """Also where the table itself is wider, so that it is scrolled sideways."""
    run = RunFiles(tmp_path / "run")
    run.begin()
    run.commit(0, {"a": 1.0})
    row = {"process": 0, "text": "word " * 500, **{f"a_long_number_{n}": 1234.5 for n in range(12)}}
    run.say("sample", seq=1, step=0, k=0, table="wide", recorded=1, rows=[row])
    for width in (390, 700, 1280):
        opened = look(made(tmp_path, run), viewport={"width": width, "height": 900})
        opened.page.locator("#samples button.open").click()
        seen, pre = (opened.page.locator(f"#samples {each}").bounding_box() for each in (".scroll", "pre"))
        assert seen["x"] <= pre["x"]
        assert pre["x"] + pre["width"] <= seen["x"] + seen["width"]
        assert pre["width"] > 0.75 * seen["width"]


def test_a_row_keeps_its_colours_when_it_is_opened_and_pointed_at(report: Path, look: Look) -> None:
    opened = look(report)
    ground = "getComputedStyle(document.querySelector('#samples tr.opens td.shaded')).backgroundColor"
    before = opened.page.evaluate(ground)
    opened.page.locator("#samples button.open").first.click()
    opened.page.locator("#samples tr.is-open td.wide").first.hover()
    assert opened.page.evaluate("document.querySelectorAll('#samples tr.is-open:hover').length") == 1
    assert opened.page.evaluate(ground) == before
    others = "getComputedStyle(document.querySelector('#samples tr.is-open td.wide')).backgroundColor"
    assert opened.page.evaluate(others) != before


def test_the_keyboard_reaches_what_the_mouse_does(report: Path, look: Look) -> None:
    opened = look(report)
    reached = []
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        reached.append(
            opened.page.evaluate(
                "(e => e.id || e.getAttribute('aria-label') || e.innerText || e.value || '')"
                "(document.activeElement)"
            )
        )
    assert reached[0] == "Skip to the report"
    assert "theme" in reached
    assert [each for each in reached if each in ("Overview", "Samples", "Run")] == [
        "Overview",
        "Samples",
        "Run",
    ]
    assert reached.index("metric-search") < reached.index("smoothing")
    opened.page.keyboard.press("Escape")
    opened.page.click("h1")
    opened.page.keyboard.press("/")
    assert opened.page.evaluate("document.activeElement.id") == "metric-search"


def test_a_screen_reader_finds_its_way(report: Path, look: Look) -> None:
    """Landmarks, headings in order, names for all controls, captions, and words for what is drawn."""
    opened = look(report)
    opened.until_drawn()
    wrong = opened.page.evaluate(
        """() => {
        const wrong = [];
        for (const each of ['header', 'nav', 'main', 'h1'])
          if (document.querySelectorAll(each).length < 1) wrong.push(`no ${each}`);
        let level = 1;
        for (const each of document.querySelectorAll('section:not([hidden]) :is(h2, h3, h4)')) {
          const own = Number(each.tagName[1]);
          if (own > level + 2) wrong.push(`${each.innerText} is of level ${own} after ${level}`);
          level = own;
        }
        for (const each of document.querySelectorAll('button, input, select')) {
          const named = each.getAttribute('aria-label') || each.textContent || each.labels?.length;
          if (!named) wrong.push(`no name: ${each.outerHTML.slice(0, 100)}`);
        }
        for (const each of document.querySelectorAll('table'))
          if (!each.querySelector('caption') || !each.querySelector('th[scope]')) wrong.push('a table');
        for (const each of document.querySelectorAll('.js-plotly-plot'))
          if (each.getAttribute('role') !== 'img' || !each.ariaLabel) wrong.push('a drawing');
        const ids = [...document.querySelectorAll('[id]')].filter(e => !e.closest('svg')).map(e => e.id);
        const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
        if (twice.length) wrong.push(`twice: ${twice.slice(0, 5)}`);
        return wrong;
      }"""
    )
    assert wrong == []
    words = opened.page.get_attribute("#metrics .plot[aria-label*='loss']", "aria-label")
    assert words is not None
    assert "at step 59" in words
    assert "1 not finite" in words


def test_colours_are_told_apart_from_what_is_behind_them(report: Path, look: Look) -> None:
    """Texts have a contrast of 4.5 at least, in light and in dark."""
    for scheme in ("light", "dark"):
        opened = look(report, color_scheme=scheme)
        contrasts = opened.page.evaluate(
            """() => {
            const style = getComputedStyle(document.documentElement);
            const light = name => { const hex = style.getPropertyValue(name).trim();
              const [r, g, b] = [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16) / 255)
                .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
              return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const found = {};
            for (const ink of ['--text', '--soft', '--faint', '--accent', '--bad', '--warn', '--good'])
              for (const ground of ['--page', '--panel', '--sunk']) {
                const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
                found[ink + ' on ' + ground] = (a + 0.05) / (b + 0.05);
              }
            return found; }"""
        )
        assert {name: round(value, 2) for name, value in contrasts.items() if value < 4.5} == {}
