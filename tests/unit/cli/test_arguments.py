"""What is typed as name=value."""

import click
import pytest

from hubbub.cli.arguments import Typed, as_text
from hubbub.kernel import InvalidArgumentsError


def test_a_value_is_json_where_it_can_be():
    typed = Typed(("count=5", "text=hi there", 'tags=["a"]', "empty="))
    assert typed.values == {"count": 5, "text": "hi there", "tags": ["a"], "empty": ""}


@pytest.mark.parametrize("word", ["hello", "=x"])
def test_a_word_without_a_name_is_no_argument(word):
    with pytest.raises(click.UsageError, match="write name=value"):
        Typed((word,))


def test_what_does_not_fit_as_json_is_tried_as_text_once():
    typed = Typed(("text=5",))
    error = InvalidArgumentsError("say: argument 'text': Expected `str`, got `int`")
    assert typed.fits_better_after(error)
    assert typed.values == {"text": "5"}
    assert not typed.fits_better_after(error)


@pytest.mark.parametrize("message", ["say: argument 'other' is missing", "say: too many"])
def test_other_complaints_stay(message):
    assert not Typed(("text=5",)).fits_better_after(InvalidArgumentsError(message))


def test_an_answer_is_shown_as_json():
    assert as_text({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'
