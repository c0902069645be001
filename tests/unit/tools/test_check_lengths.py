from tools import check_lengths


def test_long_modules_are_asked_about_and_longer_ones_refused(tmp_path):
    (tmp_path / "short.py").write_text("x = 1\n" * 400)
    (tmp_path / "long.py").write_text("x = 1\n" * 401)
    (tmp_path / "longer.py").write_text("x = 1\n" * 601)
    asked, refused = check_lengths.check(tmp_path, {})
    assert [line.split(":")[0] for line in asked] == ["long.py"]
    assert [line.split(":")[0] for line in refused] == ["longer.py"]


def test_a_listed_reason_is_accepted_and_one_that_is_not_needed_refused(tmp_path):
    (tmp_path / "longer.py").write_text("x = 1\n" * 601)
    assert check_lengths.check(tmp_path, {"longer.py": "one automaton"}) == ([], [])
    (tmp_path / "longer.py").write_text("x = 1\n")
    assert check_lengths.check(tmp_path, {"longer.py": "one automaton"})[1] == [
        "longer.py: needs its reason no longer; take it off the list"
    ]
