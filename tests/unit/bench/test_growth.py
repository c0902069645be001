import pytest

from bench.growth import Curve, curve_points, measure_curve, slope
from bench.harness import MissingError

CURVE = Curve("growth-x", "peers", (1, 10, 100), {"us": "us"}, {"hubbub": "m:f"}, "X")


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, -1.0])
def test_the_slope_is_the_power(power: float) -> None:
    assert slope([(x, 7 * x**power) for x in (1, 10, 100, 1000)]) == pytest.approx(power)


def test_a_curve_has_points_and_a_slope() -> None:
    lines = measure_curve(
        CURVE, 1.0, 3, run=lambda measure, seconds, limit_s, size: {"us": 2.0 * size}
    )
    assert curve_points(lines, "growth-x", "hubbub", "us") == [(1, 2.0), (10, 20.0), (100, 200.0)]
    assert lines[-1] == {"metric": "growth-x", "system": "hubbub", "of": "us", "slope": 1.0}


def test_a_point_that_cannot_be_measured_is_said() -> None:
    def run(measure: str, seconds: float, limit_s: float, size: int) -> dict[str, float]:
        if size == 100:
            raise MissingError("too long")
        return {"us": 1.0}

    lines = measure_curve(CURVE, 1.0, 1, run=run)
    assert {"metric": "growth-x", "system": "hubbub", "x": 100, "missing": "too long"} in lines
    assert lines[-1]["slope"] == 0
