"""The report of a verification, for people and for machines."""

import json

from registry.audit.faults import FAULTS_SHOWN_MAX, FaultKind, Faults, Report


def report(faults: Faults, *, waiting: int = 0) -> Report:
    return Report(
        entries=1_234,
        log_rows=5_678,
        waiting=waiting,
        checkpoints=2,
        number=1_234,
        chain=bytes(32),
        elapsed_s=1.5,
        faults=faults.shown,
        faults_total=faults.total,
    )


def test_an_intact_audit_is_told_with_its_head() -> None:
    text = report(Faults()).to_text()
    assert text.splitlines() == [
        "1,234 entries with 5,678 changes of handles, 2 checkpoints, 1.5 s",
        f"intact up to entry 1,234, chain {'00' * 32}",
    ]


def test_entries_without_a_number_are_mentioned() -> None:
    assert "3 entries have no number yet" in report(Faults(), waiting=3).to_text()
    assert "1 entry has no number yet" in report(Faults(), waiting=1).to_text()


def test_more_faults_than_are_shown_are_counted() -> None:
    faults = Faults()
    for number in range(FAULTS_SHOWN_MAX + 5):
        faults.add(FaultKind.ENTRY_CHANGED, number, f"entry {number} is not what the chain says")
    made = report(faults)
    lines = made.to_text().splitlines()
    assert lines[1] == f"faults: {FAULTS_SHOWN_MAX + 5:,}"
    assert lines[2] == "  entry_changed: entry 0 is not what the chain says"
    assert lines[-1] == "  and 5 more"
    assert len(lines) == FAULTS_SHOWN_MAX + 3
    assert (made.intact, len(made.to_json()["faults"])) == (False, FAULTS_SHOWN_MAX)


def test_the_report_is_json() -> None:
    faults = Faults()
    faults.add(FaultKind.LOG_ADDED, None, "2 rows")
    content = json.loads(json.dumps(report(faults).to_json()))
    assert content["faults"] == [{"kind": "log_added", "number": None, "message": "2 rows"}]
    assert content["head"] == {"number": 1_234, "chain": "00" * 32}
