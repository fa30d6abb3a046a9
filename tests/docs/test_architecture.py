from __future__ import annotations

from docs.figures.architecture import imports, reduced, rooms


def test_reads_imports_between_rooms() -> None:
    found = imports()
    assert ("probe", "rules") in found
    assert ("probe/batches", "probe/watching") in found
    assert not [room for edge in found for room in edge if room in ("recent_prune", "networks")]
    assert not [edge for edge in found if set(edge) == {"optuna", "ray"}]


def test_leaves_out_what_a_longer_way_says() -> None:
    assert reduced({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
    assert reduced({("a", "b"), ("b", "a"), ("a", "c")}) == {("a", "b"), ("b", "a"), ("a", "c")}


def test_says_what_each_room_is_for() -> None:
    lines = rooms().splitlines()
    assert (lines[0], lines[-1]) == ("```mermaid", "```")
    assert (
        '        probe_watching["<b>probe/watching/</b><br>Watching a model as it runs"]' in lines
    )
    assert any(line.endswith(" --> rules") for line in lines)
