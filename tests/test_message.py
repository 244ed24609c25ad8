"""The Message type, and how fields become a line."""

from __future__ import annotations

import copy
import enum
import math
import pickle
import unittest

from hypothesis import given, settings
from hypothesis import strategies as st

from mmdagent_remote.errors import InvalidMessage
from mmdagent_remote.message import (MAX_ARGS, Message, check_line, clean_text, compose,
                                     join_fields, parse)

# A valid field: without the characters that separate fields, end a line or are forbidden.
FIELD_TEXT = st.text(
    st.characters(exclude_characters="|\r\n\0", exclude_categories=["Cs"]), min_size=1)
ANY_TEXT = st.text(st.one_of(
    st.characters(), st.sampled_from("|\r\n\0\t\v\f\x1c\x1d\x1e\x1f\x7f\x85\xa0\u2028\u2029\ufeff "),
    st.characters(categories=["Cs"])))


class Colour(enum.IntEnum):
    """An int whose str() may not be its digits."""

    RED = 3


class MessageTest(unittest.TestCase):
    """A line that knows its fields."""

    def test_it_is_the_line(self) -> None:
        """A Message is a str: it equals, hashes, prints and formats as the line."""
        line = "KEY|a"
        message = Message(line)
        self.assertIsInstance(message, str)
        self.assertEqual(message, line)
        self.assertEqual(hash(message), hash(line))
        self.assertEqual(str(message), line)
        self.assertEqual(f"{message}", line)
        self.assertEqual(f"{message!r}", "Message('KEY|a')")

    def test_type_and_args(self) -> None:
        """The first field is the type; the others, empty ones included, are the arguments."""
        cases = {
            "": ("", ()),
            "KEY": ("KEY", ()),
            "KEY|": ("KEY", ("",)),
            "|": ("", ("",)),
            "KEY|a": ("KEY", ("a",)),
            "A||b|": ("A", ("", "b", "")),
            "MENU|ADD|\u982c": ("MENU", ("ADD", "\u982c")),
        }
        for line, (kind, args) in cases.items():
            with self.subTest(line):
                message = Message(line)
                self.assertEqual((message.type, message.args), (kind, args))
                self.assertEqual(parse(line), (kind, args))

    def test_match(self) -> None:
        """A match statement matches it by type and args."""
        def what(message: Message) -> object:
            match message:
                case Message("KEY", (key,)):
                    return key
                case Message("STOP", ()):
                    return "no argument"
                case Message("RECOG_EVENT_START"):
                    return "type only"
            return None
        self.assertEqual(what(Message("KEY|a")), "a")
        self.assertIsNone(what(Message("KEY|a|b")))
        self.assertEqual(what(Message("STOP")), "no argument")
        self.assertEqual(what(Message("RECOG_EVENT_START|x|y")), "type only")

    def test_is_echo(self) -> None:
        """A Message is an echo only if made as one; equality ignores this."""
        self.assertIs(Message("A").is_echo, False)
        self.assertIs(Message("A", is_echo=True).is_echo, True)
        self.assertEqual(Message("A"), Message("A", is_echo=True))

    def test_it_has_no_dict(self) -> None:
        """A Message has no __dict__, which saves memory and makes a misspelt attribute an error."""
        with self.assertRaises(AttributeError):
            Message("A").ecko = True  # type: ignore[attr-defined]

    def test_copies_keep_the_echo_mark(self) -> None:
        """copy and pickle keep the line and the echo mark."""
        message = Message("A|b", is_echo=True)
        for other in (copy.copy(message), copy.deepcopy(message),
                      pickle.loads(pickle.dumps(message))):
            self.assertIsInstance(other, Message)
            self.assertEqual((other, other.is_echo), ("A|b", True))

    def test_of(self) -> None:
        """Message.of() builds it from checked fields."""
        message = Message.of("KEY", "a", 3)
        self.assertIsInstance(message, Message)
        self.assertEqual(message, "KEY|a|3")
        self.assertEqual(Message.of("STOP"), "STOP")

    def test_of_refuses(self) -> None:
        """Message.of() needs at least one field, and refuses a bar in any of them."""
        with self.assertRaises(TypeError):
            Message.of()
        with self.assertRaises(TypeError):
            Message.of("A", None)  # type: ignore[arg-type]
        with self.assertRaises(InvalidMessage):
            Message.of("A|b")
        with self.assertRaises(InvalidMessage):
            Message.of("A\n")

    @settings(deadline=None)
    @given(st.text())
    def test_parse_loses_nothing(self, line: str) -> None:
        """Type and arguments of any line, joined again, are the line."""
        message = Message(line)
        self.assertEqual("|".join([message.type, *message.args]), line)
        self.assertEqual(parse(line), (message.type, message.args))


class ComposeTest(unittest.TestCase):
    """The arguments of send()."""

    @settings(deadline=None)
    @given(st.lists(FIELD_TEXT, min_size=2, max_size=MAX_ARGS + 1))
    def test_round_trip(self, fields: list[str]) -> None:
        """A line composed of fields has the same fields."""
        message = Message(compose(tuple(fields)))
        self.assertEqual([message.type, *message.args], fields)
        self.assertEqual(compose((message,)), message)

    @settings(deadline=None)
    @given(st.lists(st.one_of(ANY_TEXT, st.integers(-10**30, 10**30), st.floats(), st.none(),
                              st.booleans()), max_size=13))
    def test_only_documented_errors(self, fields: list[object]) -> None:
        """For any arguments, compose() returns a valid line, or raises an error with a text."""
        try:
            line = compose(tuple(fields))
        except (InvalidMessage, TypeError) as error:
            self.assertTrue(str(error))
            return
        self.assertTrue(line)
        self.assertEqual(set(line) & set("\r\n\0"), set())
        line.encode()
        kind, *args = line.split("|")
        self.assertTrue(kind)
        self.assertNotIn("", args[:-1])
        self.assertLessEqual(len(args), 10)

    def test_one_argument_is_a_line(self) -> None:
        """One argument is a whole line, bars included; the result is a plain str."""
        for line in ("A", "A|b", "A|b|", "TEST_MESSAGE", "A|\u3042\U0001f600", " "):
            self.assertEqual(compose((line,)), line)
        result = compose((Message("A|b"),))
        self.assertIs(type(result), str)
        self.assertEqual(result, "A|b")

    def test_one_trailing_newline_is_accepted(self) -> None:
        """One LF or CRLF at the end of a whole line is taken off, a second one is refused."""
        self.assertEqual(compose(("A|b\n",)), "A|b")
        self.assertEqual(compose(("A|b\r\n",)), "A|b")
        for line in ("A\n\n", "A\r\n\r\n", "A\n\r\n", "A\r", "A\r\r\n"):
            with self.subTest(line), self.assertRaises(InvalidMessage):
                compose((line,))

    def test_an_empty_line_is_refused(self) -> None:
        """An empty line, which would crash MMDAgent-EX, is refused in every form."""
        for line in ("", "\n", "\r\n"):
            with self.subTest(line), self.assertRaisesRegex(InvalidMessage, "empty"):
                compose((line,))

    def test_numbers(self) -> None:
        """int and float fields are written as Python writes them; an IntEnum as its number."""
        self.assertEqual(compose(("A", "b", 3)), "A|b|3")
        self.assertEqual(compose(("A", -1, 0.1, 2.0, 10**20)), "A|-1|0.1|2.0|100000000000000000000")
        self.assertEqual(compose(("A", Colour.RED)), "A|3")

    def test_numbers_that_are_none(self) -> None:
        """Infinity and NaN are refused."""
        for value in (math.inf, -math.inf, math.nan):
            with self.subTest(value), self.assertRaisesRegex(InvalidMessage, "field 1"):
                compose(("A", value))

    def test_wrong_types(self) -> None:
        """None, bool, bytes and containers are a TypeError that says which field."""
        for value in (None, True, False, b"b", ["b"], ("b",), {}, object()):
            with self.subTest(value):
                with self.assertRaisesRegex(TypeError, "field 2"):
                    compose(("A", "b", value))
                with self.assertRaises(TypeError):
                    compose((value,))
        for value in (3, 0.5):
            with self.subTest(value), self.assertRaises(TypeError):
                compose((value,))
        with self.assertRaises(TypeError):
            compose(())

    def test_what_poisons_a_line(self) -> None:
        """CR, LF, NUL and lone surrogates are refused anywhere, and the error says where."""
        for bad in ("\r", "\n", "\0", "\ud800", "\udfff", "\udc80"):
            for line in (f"{bad}A", f"A|{bad}", f"A|b{bad}|c"):
                with self.subTest(line):
                    with self.assertRaises(InvalidMessage) as caught:
                        compose((line + "x",))
                    self.assertIn(f"position {line.index(bad)}", str(caught.exception))
            for fields in ((f"A{bad}", "b"), ("A", bad), ("A", "b", f"c{bad}")):
                with self.subTest(fields), self.assertRaises(InvalidMessage):
                    compose(fields)

    def test_other_characters_pass(self) -> None:
        """Characters that only str.splitlines() treats as line ends are allowed in a line."""
        for text in ("\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\ufeff", "\ufffd"):
            self.assertEqual(compose(("A", text)), f"A|{text}")

    def test_a_bar_in_a_field(self) -> None:
        """A bar in a field is refused, with the number of the field, since it cannot be escaped."""
        with self.assertRaisesRegex(InvalidMessage, "field 1"):
            compose(("A", "b|c"))
        with self.assertRaisesRegex(InvalidMessage, "field 0"):
            compose(("A|b", "c"))

    def test_empty_fields(self) -> None:
        """Only the last field may be empty; an earlier empty one would shift the others."""
        self.assertEqual(compose(("A", "")), "A|")
        self.assertEqual(compose(("A", "b", "")), "A|b|")
        for fields in (("", "b"), ("A", "", "b"), ("A", "", ""), ("A||b",), ("|A",), ("|",)):
            with self.subTest(fields), self.assertRaises(InvalidMessage):
                compose(fields)

    def test_ten_arguments(self) -> None:
        """Nine and ten arguments are accepted, eleven are refused, as fields and as a line."""
        for count in (9, 10):
            fields = ("A", *"x" * count)
            self.assertEqual(compose(fields), "|".join(fields))
            self.assertEqual(compose(("|".join(fields),)), "|".join(fields))
        fields = ("A", *"x" * 11)
        for arguments in (fields, ("|".join(fields),)):
            with self.assertRaisesRegex(InvalidMessage, "11 arguments.*10"):
                compose(arguments)

    def test_the_error_shows_little(self) -> None:
        """The text of an error does not repeat a very long line."""
        with self.assertRaises(InvalidMessage) as caught:
            check_line("A" * 1_000_000 + "\0")
        self.assertLess(len(str(caught.exception)), 300)

    def test_join_fields_takes_one(self) -> None:
        """join_fields() accepts a single field, the type."""
        self.assertEqual(join_fields(("A",)), "A")


class CleanTextTest(unittest.TestCase):
    """clean_text(): any text, made fit for one field."""

    @settings(deadline=None)
    @given(ANY_TEXT)
    def test_it_always_fits(self, text: str) -> None:
        """The result is empty or can be sent as a field, and cleaning it again changes nothing."""
        cleaned = clean_text(text)
        if cleaned:
            self.assertEqual(compose(("A", cleaned)), f"A|{cleaned}")
        self.assertEqual(clean_text(cleaned), cleaned)
        self.assertEqual(cleaned, cleaned.strip())
        self.assertEqual(len(cleaned.splitlines()), 1 if cleaned else 0)

    @settings(deadline=None)
    @given(FIELD_TEXT)
    def test_it_keeps_what_is_printable(self, text: str) -> None:
        """No printable character except the bar is changed or lost."""
        wanted = [c for c in text if c.isprintable() and not c.isspace()]
        found = [c for c in clean_text(text) if c.isprintable() and not c.isspace()]
        self.assertEqual(found, wanted)

    def test_examples(self) -> None:
        """Line ends become one blank, bars full-width bars; control characters are removed."""
        cases = {
            "": "",
            "plain": "plain",
            "one\r\ntwo\n\n\nthree": "one two three",
            "a\tb\u2028c\u2029d\x85e\vf\fg": "a b c d e f g",
            "  ends \n": "ends",
            "a|b": "a\uff5cb",
            "bell\a nul\0 esc\x1b[0m": "bell nul esc[0m",
            "\ufeffbom": "bom",
            "half \ud83d pair": "half  pair",
            "\n\0|\r": "\uff5c",
            "\n \0": "",
            "\U0001f600 \u3042": "\U0001f600 \u3042",
        }
        for text, cleaned in cases.items():
            with self.subTest(text):
                self.assertEqual(clean_text(text), cleaned)


if __name__ == "__main__":
    unittest.main()
