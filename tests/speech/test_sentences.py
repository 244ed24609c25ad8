"""Where a stream of text is cut into sentences."""

from __future__ import annotations

import unittest

from mmdagent_remote.speech.sentences import MAX_SENTENCE, SentenceCutter

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAGS = "\U0001f1ef\U0001f1f5"
THUMB = "\U0001f44d\U0001f3fd"


def spoken(text: str) -> str:
    """The letters and digits of a text, in any script: what can be spoken."""
    return "".join(char for char in text if char.isalnum())


def cut(*pieces: str) -> list[str]:
    """All sentences of a stream of pieces."""
    during, rest = fed(*pieces)
    return during + rest


def fed(*pieces: str) -> tuple[list[str], list[str]]:
    """The sentences that feed() returned, and those that flush() returned."""
    cutter = SentenceCutter()
    during = [sentence for piece in pieces for sentence in cutter.feed(piece)]
    return during, cutter.flush()


class CutterTest(unittest.TestCase):
    """What the tests of the cutter have in common."""

    def check(self, cases: dict[str, list[str]]) -> None:
        """Each text, in one piece, makes these sentences."""
        for text, sentences in cases.items():
            with self.subTest(text):
                self.assertEqual(cut(text), sentences)

    def check_any(self, cases: dict[str, list[str]]) -> None:
        """Each text makes these sentences, in one piece and one character at a time."""
        self.check(cases)
        for text, sentences in cases.items():
            with self.subTest(text, fed="one character at a time"):
                self.assertEqual(cut(*text), sentences)


class EndTest(CutterTest):
    """What ends a sentence."""

    def test_full_width_marks(self) -> None:
        """A full-width mark ends a sentence, whatever follows."""
        self.check_any({
            "こんにちは。元気ですか？はい！よかった．では": ["こんにちは。", "元気ですか？", "はい！", "よかった．", "では"],
            "はい｡そう。A。1。、次": ["はい｡", "そう。", "A。", "1。", "、次"],
        })

    def test_ascii_marks(self) -> None:
        """An ASCII mark ends a sentence before a blank, a newline, kana, kanji or a picture."""
        self.check_any({
            "Hello. How are you? Fine! Good.": ["Hello.", "How are you?", "Fine!", "Good."],
            "これはペンです.あれは?本!次.日本.「はい」": ["これはペンです.", "あれは?", "本!", "次.", "日本.", "「はい」"],
            "One.\tTwo.\u3000Three.\nFour": ["One.", "Two.", "Three.", "Four"],
            "Good job.\U0001f60a Next.\u2728": ["Good job.", "\U0001f60a Next."],
        })

    def test_newlines(self) -> None:
        """A newline of any kind ends a sentence, and is part of none."""
        self.check_any({
            "One\nTwo\rThree\r\nFour\u2028Five\u2029Six": ["One", "Two", "Three", "Four", "Five", "Six"],
            "一\n\n\n二\n": ["一", "二"],
            "one\vtwo\x85three": ["one two three"],
        })

    def test_runs(self) -> None:
        """Marks in a row end one sentence and belong to it."""
        self.check({
            "本当！？はい。。。": ["本当！？", "はい。。。"],
            "What?! Yes!!! No...": ["What?!", "Yes!!!", "No..."],
            "すごい!?次": ["すごい!?", "次"],
        })

    def test_ellipses(self) -> None:
        """Dots in a row, and an ellipsis, end a sentence where one dot would."""
        self.check_any({
            "えっと……そうですね…はい": ["えっと……", "そうですね…", "はい"],
            "Well... maybe… or not": ["Well...", "maybe…", "or not"],
            "so…called, a..b, ...and": ["so…called, a..b, ...and"],
        })

    def test_closing_quotes(self) -> None:
        """Closing quotes and brackets after an end belong to the sentence before."""
        self.check({
            "「はい。」と言った。（本当！）次": ["「はい。」", "と言った。", "（本当！）", "次"],
            'He said "Go." Then (it works.) And “so.” End': [
                'He said "Go."', "Then (it works.)", "And “so.”", "End"],
            "『「え？」。』そう": ["『「え？」。』", "そう"],
            "It's ‘so.’ Yes!') No": ["It's ‘so.’", "Yes!')", "No"],
        })

    def test_a_quote_behind_a_blank_opens(self) -> None:
        """A quote that does not touch the end belongs to the next sentence."""
        self.check_any({'Go. "Now," she said.': ["Go.", '"Now," she said.']})

    def test_a_closing_bracket_begins_nothing(self) -> None:
        """No sentence begins with a closing bracket."""
        self.check_any({"はい。 」そう": ["はい。", "そう"], "One.\n)Two": ["One.", "Two"]})


class NoEndTest(CutterTest):
    """What looks like an end but is not."""

    def test_numbers_and_names(self) -> None:
        """A dot before a letter, a digit or another mark is not an end."""
        self.check_any({
            "Pi is 3.14, see example.com/a.html.": ["Pi is 3.14, see example.com/a.html."],
            "円周率は3.14です。Node.jsです。": ["円周率は3.14です。", "Node.jsです。"],
            "a.,b.;c.-d .５": ["a.,b.;c.-d .５"],
        })

    def test_the_full_width_dot_in_a_number(self) -> None:
        """A full-width dot between two digits is not an end; after the last digit it is."""
        self.check_any({"円周率は３．１４．次は3．5": ["円周率は３．１４．", "次は3．5"]})

    def test_addresses(self) -> None:
        """An ASCII mark before a letter or digit of the same piece is not an end."""
        self.check({
            "See https://example.com/?q=1&r=!x now! Yes": [
                "See https://example.com/?q=1&r=!x now!", "Yes"],
            "a!Ａ b?３ c!é": ["a!Ａ b?３ c!é"],
        })

    def test_abbreviations(self) -> None:
        """A dot after an abbreviation, in upper or lower case, is not an end."""
        for word in ("Mr. Mrs. Ms. Dr. Prof. St. Sr. Jr. vs. etc. e.g. i.e. Fig. Inc. Ltd. Co. approx. "
                     "a.m. p.m.").split():
            for form in (word, word.lower(), word.upper()):
                self.check_any({f"It is {form} Five. Yes": [f"It is {form} Five.", "Yes"],
                                f"({form}) five": [f"({form}) five"]})
        self.check_any({"Dr.田中です。": ["Dr.田中です。"], "Mr. A": ["Mr. A"]})

    def test_only_whole_words(self) -> None:
        """Neither the end of a longer word nor a word with more dots is an abbreviation."""
        self.check_any({"The best. Hers. Disco. Etc... Yes": [
            "The best.", "Hers.", "Disco.", "Etc...", "Yes"]})

    def test_no_is_a_word(self) -> None:
        """The dot of "No." is not an end before a number, and is an end before anything else."""
        self.check_any({
            "No. I am. Room No. 5 is. See no.7. no.": [
                "No.", "I am.", "Room No. 5 is.", "See no.7.", "no."],
            "No. )": ["No."], "No.\n5": ["No.", "5"], "「No.」はい": ["「No.」", "はい"],
        })

    def test_single_letters(self) -> None:
        """A dot after a single letter is not an end, unless an apostrophe precedes the letter."""
        self.check_any({
            "J. R. Tolkien in the U.S. today. Yes": ["J. R. Tolkien in the U.S. today.", "Yes"],
            "I can't. Nor I’d. Yes": ["I can't.", "Nor I’d.", "Yes"],
        })

    def test_list_numbers(self) -> None:
        """The dot after a number at the beginning of a line is not an end; elsewhere it is."""
        self.check_any({
            "1. Open it. 2. Go.\n  10. Close it.\n３．次。": [
                "1. Open it.", "2.", "Go.", "10. Close it.", "３．次。"],
            "1.開く。\n2024. Then": ["1.開く。", "2024.", "Then"],
            "**1. Title**": ["1. Title"],
        })


class EarlyTest(CutterTest):
    """When a sentence is returned."""

    def test_full_width_marks_at_once(self) -> None:
        """A full-width mark ends the sentence at once, even at the end of a piece."""
        for mark in "。！？｡．":
            self.assertEqual(SentenceCutter().feed(f"はい{mark}"), [f"はい{mark}"])

    def test_ascii_marks_at_once(self) -> None:
        """An ASCII exclamation or question mark at the end of a piece ends the sentence at once."""
        for mark in "!?":
            self.assertEqual(SentenceCutter().feed(f"Yes{mark}"), [f"Yes{mark}"])
            self.assertEqual(fed(f"Yes{mark}", "no"), ([f"Yes{mark}"], ["no"]))

    def test_newlines_at_once(self) -> None:
        """A newline ends the sentence at once."""
        for mark in "\n\r\u2028\u2029":
            self.assertEqual(SentenceCutter().feed(f"Yes{mark}"), ["Yes"])

    def test_what_comes_late_is_dropped(self) -> None:
        """Marks and closing quotes that come after the sentence was returned are dropped."""
        cases = [(("はい！", "？」", "次。"), ["はい！", "次。"]), (("はい。", "」", "』。次"), ["はい。", "次"]),
                 (("Hi!", '"', " Yes"), ["Hi!", "Yes"]), (("Hi!", "!", "..", "’ ok"), ["Hi!", "ok"]),
                 (("Hi!", ' "Yes"'), ["Hi!", '"Yes"']), (("はい。", "\n", '"Yes"'), ["はい。", '"Yes"']),
                 (("はい！", "\ufe0f」次"), ["はい！", "次"])]
        for pieces, sentences in cases:
            with self.subTest(pieces):
                self.assertEqual(cut(*pieces), sentences)

    def test_a_dot_waits(self) -> None:
        """A dot at the end of a piece waits for the next character."""
        for dot in (".", "…", "..."):
            cutter = SentenceCutter()
            self.assertEqual(cutter.feed(f"Yes{dot}"), [])
            self.assertEqual(cutter.feed(""), [])
            self.assertEqual(cutter.feed(" "), [f"Yes{dot}"])
        self.assertEqual(fed("3.", "14"), ([], ["3.14"]))
        self.assertEqual(fed("はい.", "次"), (["はい."], ["次"]))

    def test_a_dot_waits_for_no_closing_quote(self) -> None:
        """A dot and its closing quote end the sentence at the end of a piece."""
        self.assertEqual(fed('"Yes.', '"', ") No"), (['"Yes."'], ["No"]))

    def test_a_full_width_dot_behind_a_digit_waits(self) -> None:
        """A full-width dot after a digit waits for the next character."""
        self.assertEqual(fed("３．", "１４"), ([], ["３．１４"]))
        self.assertEqual(fed("第３．", "次"), (["第３．"], ["次"]))
        self.assertEqual(fed("第３．", "。"), (["第３．。"], []))

    def test_flush(self) -> None:
        """The flush returns the rest, and a new stream begins."""
        cutter = SentenceCutter()
        self.assertEqual(cutter.feed("Yes. It is 3."), ["Yes."])
        self.assertEqual(cutter.flush(), ["It is 3."])
        self.assertEqual(cutter.flush(), [])
        self.assertEqual(cutter.feed("# 1. Open. "), ["1. Open."])
        self.assertEqual(cutter.flush(), [])

    def test_the_flush_forgets_the_last_end(self) -> None:
        """Marks that are dropped after a sentence are kept at the start of the next stream."""
        cutter = SentenceCutter()
        self.assertEqual(cutter.feed("Hi!"), ["Hi!"])
        self.assertEqual(cutter.flush(), [])
        self.assertEqual([*cutter.feed('"Hi"'), *cutter.flush()], ['"Hi"'])


class CleanTest(CutterTest):
    """What a sentence is made of."""

    def test_fit_for_a_field(self) -> None:
        """A sentence is fit for one field of a message."""
        self.check_any({" a|b\tc\0d\ud800 ": ["a\uff5cb cd"], "\ufeffはい。": ["はい。"]})

    def test_nothing_to_say(self) -> None:
        """A text without letter, digit, kana or kanji is not a sentence."""
        self.check_any({"": [], " \n": [], "。！？...": [], "「」、": [], "\U0001f600\u2728": [],
                        "---\n***\n": [], "！\U0001f600。、\nー。々": ["ー。", "々"], "42": ["42"]})

    def test_markdown_anywhere(self) -> None:
        """Backticks, and two or more asterisks or underscores in a row, are removed."""
        self.check_any({
            "**Bold.** Is `code` and ***both***. __init__ is": ["Bold.", "Is code and both.", "init is"],
            "これは**太字**です。": ["これは太字です。"],
            "snake_case, 5 * 3 = 15, *one*, a-b": ["snake_case, 5 * 3 = 15, *one*, a-b"],
            "```\ncode\n```\n": ["code"], "a*": ["a*"], "a_": ["a_"], "a**": ["a"],
        })

    def test_markdown_at_the_beginning_of_a_line(self) -> None:
        """Heading and list marks are removed only at the beginning of a line."""
        self.check_any({
            "# Title\n## 見出し\n#tag": ["Title", "見出し", "tag"],
            "- one\n  * two\n- **three**: x\n\t- - four": ["one", "two", "three: x", "four"],
            "-5 and C# - or * not": ["-5 and C# - or * not"],
            "-a\n--b\n*c\n- ": ["-a", "--b", "*c"],
        })


class BoundTest(CutterTest):
    """A text without any end."""

    def test_the_bound(self) -> None:
        """A sentence of MAX_SENTENCE characters stays whole; one character more is cut off."""
        for size in (MAX_SENTENCE - 1, MAX_SENTENCE, MAX_SENTENCE + 1):
            text = "長" * size
            cases = {text: [text]} if size <= MAX_SENTENCE else {text: [text[:-1], "長"]}
            self.check_any(cases)

    def test_at_a_comma_or_blank(self) -> None:
        """A text without end is cut at the last comma or blank before the bound."""
        tail = "あ" * (MAX_SENTENCE - 2)
        self.check_any({f"x、い、{tail}": ["x、い、", tail], f"x，{tail}a": ["x，", f"{tail}a"],
                        f"x,y {tail}": ["x,y", tail], f"x,{tail}1": ["x,", f"{tail}1"]})

    def test_a_comma_in_a_number(self) -> None:
        """A text is not cut at a comma inside a number."""
        number = "1,000," + "0" * MAX_SENTENCE
        self.check_any({number: [number[:MAX_SENTENCE], number[MAX_SENTENCE:]]})

    def test_marks_at_the_bound(self) -> None:
        """An end mark just after the bound does not become a sentence of its own."""
        text = "長" * MAX_SENTENCE
        self.check_any({f"{text}。次": [text, "次"], f"{text[1:]}！？」次": [f"{text[1:]}！", "次"],
                        f"{text}. Yes": [text, "Yes"], f"{text}...5": [text, "...5"],
                        f"{text}」次": [text, "次"]})

    def test_an_end_behind_many_dots(self) -> None:
        """An end is recognised even after more marks than are kept."""
        word = "x" * (MAX_SENTENCE - 2)
        for dots in ("." * MAX_SENTENCE, f"{word}.", f"{word}.."):
            for mark in "。？?!":
                self.assertEqual(len(SentenceCutter().feed(f"x{dots}{mark}")), 1)

    def test_not_inside_a_character(self) -> None:
        """A cut without comma or blank does not split what looks like one character."""
        for whole in ("e\u0301\u0302", "か\u3099", "\u2764\ufe0f", FAMILY, FLAGS, THUMB, "ｶﾞ",
                      "\u0915\u093f", "1\ufe0f\u20e3"):
            for room in range(1, len(whole)):
                head = "x" * (MAX_SENTENCE - room)
                with self.subTest(whole, room=room):
                    self.assertEqual(cut(*head, *whole, "y"), [head, f"{whole}y"])

    def test_between_two_flags(self) -> None:
        """A text may be cut between two flags."""
        head = "x" * (MAX_SENTENCE - 2) + FLAGS
        self.check_any({f"{head}{FLAGS}y": [head, f"{FLAGS}y"]})

    def test_a_comma_with_a_mark(self) -> None:
        """A comma is not separated from its combining mark."""
        self.assertEqual(cut("a,b,\u0301" + "c" * MAX_SENTENCE)[0], "a,")

    def test_more_marks_than_the_bound(self) -> None:
        """A text that these rules would never cut is cut at the bound."""
        text = "e" + "\u0301" * (2 * MAX_SENTENCE)
        self.assertEqual(cut(text), [text[:MAX_SENTENCE]])


if __name__ == "__main__":
    unittest.main()
