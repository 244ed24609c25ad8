"""Have the avatar speak a sound file, with lip-sync.

Run it with ``python samples/lipsync_wav.py FILE``, and start MMDAgent-EX with a model "0". Without
a file, espeak-ng (if it is installed) makes one. A file that is not 16 kHz mono, such as that of
espeak-ng, needs ``pip install soundfile soxr``. Ctrl-C ends the program.
"""

import shutil
import subprocess
import sys
import threading

from mmdagent_remote import ConnectionClosed, Server

MODEL = "0"
TEXT = "Hello. This is a voice that was made elsewhere."


def make_speech(text):
    """Returns a WAV file as bytes, or ends the program."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        sys.exit("Name a sound file, or install espeak-ng, which can make one.")
    return subprocess.run([espeak, "--stdout", text], check=True, stdout=subprocess.PIPE).stdout


def show(heard, total):
    """Called about 25 times a second, in a thread of the connection."""
    of = f" of {total:.1f}" if total is not None else ""
    print(f"\r{heard:.1f}{of} s", end="", flush=True)


def main():
    sound = sys.argv[1] if len(sys.argv) > 1 else make_speech(TEXT)
    with Server(port=9001) as server:
        print(server.start_text(), file=sys.stderr)
        with server.accept() as agent:         # waits for MMDAgent-EX
            try:
                ended = threading.Event()
                spoken = agent.speak_audio(MODEL, sound, progress=show)
                spoken.add_done_callback(lambda _: ended.set())   # in show()'s thread, so after it
                ended.wait()
                spoken.result()                # raises what went wrong
            except ConnectionClosed:
                sys.exit("\nMMDAgent-EX has left.")
            except (ImportError, OSError, ValueError) as error:
                sys.exit(f"{sound if isinstance(sound, str) else 'espeak-ng'}: {error}")
            print("\nPlayed.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
