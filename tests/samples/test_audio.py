"""The samples that play sound, each run as a user runs it, with simulated agents."""

from __future__ import annotations

import random
import unittest
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

from mmdagent_remote.testing import SimulatedAgent
from tests.support import DEADLINE, wait_until
from tests.samples.test_samples import SAMPLES, Program
from tests.samples.test_chat import ARGUMENTS
from tests.samples.test_dialogue import DialogueCase, load

# Replaces espeak-ng, which is not on every machine. The text determines the length of the sound.
_NO_ESPEAK = "import shutil\nshutil.which = lambda name: None\n"
_FAKE_ESPEAK = """
import io, shutil, subprocess, wave
from types import SimpleNamespace

def run(command, input=None, **options):
    text = command[-1] if input is None else input.decode()
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 22050, 0, "NONE", ""))
        writer.writeframes(b"\\1\\2" * 220 * len(text))
    return SimpleNamespace(stdout=file.getvalue())

shutil.which = lambda name: name
subprocess.run = run
"""

# Replaces sounddevice: a machine with a microphone, without one, or without PortAudio.
_FAKE_DEVICE = """
import sys, threading
from types import ModuleType

class PortAudioError(Exception):
    pass

class RawInputStream:
    def __init__(self, samplerate, channels, dtype, blocksize, device, callback):
        self.size, self.callback = blocksize, callback
        self.ended = threading.Event()
        assert (samplerate, channels, dtype) == (16000, 1, "int16")

    def run(self):
        block = 0
        while not self.ended.wait(self.size / 16000):
            self.callback(bytearray([block %% 256, 1]) * self.size, self.size, None, None)
            block += 1

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

def check_input_settings(device, samplerate, channels, dtype):
    if not %(is_there)r:
        raise PortAudioError("Error querying device -1")

sys.modules["sounddevice"] = module = ModuleType("sounddevice")
for each in (PortAudioError, RawInputStream, check_input_settings):
    setattr(module, each.__name__, each)
module.query_devices = lambda: ""
"""
_NO_LIBRARY = "import sys\nsys.modules['sounddevice'] = None\n"


class AudioCase(DialogueCase):
    """Runs samples with arguments."""

    def start(self, name: str, *arguments: str, prepare: str = "") -> Program:
        """A running sample."""
        return self.program(SAMPLES / name, prepare + ARGUMENTS % (arguments,))

    def sound_of(self, agent: SimulatedAgent) -> bytes:
        """The sound that an agent has heard once it has ended."""
        agent.expect("SNDBRKS", DEADLINE)
        return agent.audio


class LipsyncTest(AudioCase):
    """``lipsync_wav.py``."""

    def test_a_file(self) -> None:
        """A file is played, the seconds are shown, and the program ends with status 0."""
        sound = random.Random(1).randbytes(16000)
        with TemporaryDirectory() as directory:
            path = Path(directory, "声.wav")
            with wave.open(str(path), "wb") as writer:
                writer.setparams((1, 2, 16000, 0, "NONE", ""))
                writer.writeframes(sound)
            program = self.start("lipsync_wav.py", str(path))
            agent = self.agent(program)
            self.assertEqual(self.sound_of(agent), sound)
            self.assertEqual(program.wait(), 0)
        self.assertEqual(program.out[-1], "Played.")
        self.assertIn("0.5 of 0.5 s", program.out[-2])

    def test_espeak(self) -> None:
        """Without a file espeak-ng makes one, which is converted."""
        program = self.start("lipsync_wav.py", prepare=_FAKE_ESPEAK)
        text = load("lipsync_wav").TEXT
        self.assertAlmostEqual(len(self.sound_of(self.agent(program))), len(text) * 320, delta=64)
        program.expect("Played.")

    def test_nothing_to_play(self) -> None:
        """Without a file and espeak-ng, or with a bad file, it says so in one line."""
        program = self.start("lipsync_wav.py", prepare=_NO_ESPEAK)
        self.assertEqual(program.wait(), 1)
        self.assertEqual(program.err, ["Name a sound file, or install espeak-ng, which can make one."])
        for name, words in (("no such.wav", "No such file"), (__file__, "no sound file")):
            program = self.start("lipsync_wav.py", name)
            # Not waited until it is connected: on a busy machine it may be over before a look.
            agent = SimulatedAgent(f"ws://127.0.0.1:{program.port}/chat", chatter=False, retry_count=100)
            self.addCleanup(self.leave_well, agent.start())
            self.assertEqual(program.wait(), 1)
            self.assertIn(words, program.err[-1])
            self.assertNotIn("Traceback", "".join(program.err))


class VoiceTest(AudioCase):
    """``tts_voice.py``."""

    def test_sentences(self) -> None:
        """A text is made and played sentence by sentence; the end of the input waits for it."""
        program = self.start("tts_voice.py", "--voice", "espeak", prepare=_FAKE_ESPEAK)
        agent = self.agent(program)
        program.expect("MMDAgent-EX is connected. Type what it shall say.")
        program.tell("One. 二つ目。Three")
        program.expect("Spoken: One. 二つ目。Three")
        self.assertAlmostEqual(len(agent.audio), len("One. 二つ目。Three") * 320, delta=200)
        self.check_ctrl_c(program)

    def test_stop(self) -> None:
        """An empty line stops the voice, and the program goes on."""
        program = self.start("tts_voice.py")
        agent = self.agent(program)
        program.tell("A long text. " * 30)
        wait_until(lambda: agent.audio, "it speaks")
        program.tell("")
        program.expect("Stopped: " + ("A long text. " * 30).strip())
        program.tell("again")
        program.expect("Spoken: again")
        self.check_ctrl_c(program)

    def test_a_voice_that_is_not_there(self) -> None:
        """A voice that is not installed is reported by its error, and the program goes on."""
        prepare = "import os\nos.environ['PATH'] = ''\n"
        program = self.start("tts_voice.py", "--voice", "espeak", prepare=prepare)
        self.agent(program)
        program.tell("hello")
        wait_until(lambda: "Could not be spoken: hello" in "".join(program.out), "it is told")
        self.assertIn("espeak-ng", program.out[-1])
        self.check_ctrl_c(program)


class MicrophoneTest(AudioCase):
    """``microphone.py``."""

    def test_speaks(self) -> None:
        """The microphone is played live, also after a reconnect, until Ctrl-C ends it."""
        program = self.start("microphone.py", prepare=_FAKE_DEVICE % {"is_there": True})
        agent = self.agent(program)
        agent.expect("SNDSTRM", DEADLINE)
        wait_until(lambda: len(agent.audio_chunks) >= 5, "sound")
        self.assertEqual(agent.audio[:2561:640], b"\0\0\1\1\2")
        agent.drop()
        agent.expect("SNDSTRM", DEADLINE)
        program.expect("MMDAgent-EX has left.", "MMDAgent-EX is connected. Speak.")
        self.check_ctrl_c(program)

    def test_no_microphone(self) -> None:
        """Without a device, or without the library, it says so in one line."""
        for prepare, words in ((_FAKE_DEVICE % {"is_there": False}, "no microphone that can be used"),
                               (_NO_LIBRARY, 'pip install sounddevice')):
            program = self.start("microphone.py", prepare=prepare)
            self.assertEqual(program.wait(), 1)
            self.assertEqual(len(program.err), 1, program.err)
            self.assertIn(words, program.err[0])


if __name__ == "__main__":
    unittest.main()
