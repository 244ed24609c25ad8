"""Give the avatar another voice: anything that turns text into sound, by sentences, with lip-sync.

Run it with ``python samples/tts_voice.py``, start MMDAgent-EX with a model "0", and type. A voice
is any function from a text to a WAV file as bytes. ``--voice`` chooses one of three: ``espeak``
(espeak-ng, if it is installed), ``voicevox`` (a VOICEVOX engine on this machine), or ``beep``,
which only beeps, but needs nothing. The others need ``pip install soundfile soxr``. While one
sentence plays, the next is made. An empty line stops the voice. Ctrl-C ends the program.
"""

import argparse
import io
import json
import math
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import wave

from mmdagent_remote import Agent, ConnectionClosed, Server

MODEL = "0"


def espeak(text):
    return subprocess.run(["espeak-ng", "--stdin", "--stdout"], input=text.encode(), check=True,
                          stdout=subprocess.PIPE).stdout


def voicevox(text, engine="http://127.0.0.1:50021", speaker=1):
    def post(name, body=b"", **query):
        url = f"{engine}/{name}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read()
    query = json.loads(post("audio_query", text=text, speaker=speaker))
    return post("synthesis", json.dumps(query).encode(), speaker=speaker)


def beep(text):
    """A tone, as long as the text."""
    samples = (int(8000 * math.sin(index / 6)) for index in range(800 * len(text)))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16000)
        writer.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    return file.getvalue()


VOICES = {"espeak": espeak, "voicevox": voicevox, "beep": beep}


def sentences(text):
    return re.findall("[^.!?。！？]+[.!?。！？]*", text)


def speak(server, voice, text):
    """Returns at once; the sound is made in a thread of the connection, and played in order."""
    def report(spoken):
        error = spoken.exception()
        if error:
            print(f"Could not be spoken: {text} ({error})")
        else:
            print(f"Spoken: {text}" if spoken.result() else f"Stopped: {text}")
    try:
        agent = server.wait_connected(timeout=3)
        if not text:
            agent.stop_speaking(MODEL)
            return None
        # A generator, which is read some seconds ahead, so that the next sentence is made in time.
        spoken = agent.speak_audio(MODEL, (voice(sentence) for sentence in sentences(text)))
    except (TimeoutError, ConnectionClosed):
        print(f"Could not be spoken: {text} (MMDAgent-EX is not connected)")
        return None
    spoken.add_done_callback(report)
    return spoken


def main():
    parser = argparse.ArgumentParser(description="Give the avatar another voice.")
    parser.add_argument("--voice", choices=VOICES, default="beep")
    voice = VOICES[parser.parse_args().voice]
    with Server(Agent, port=9001) as server:
        print(server.start_text(), file=sys.stderr)
        server.wait_connected()
        print("MMDAgent-EX is connected. Type what it shall say.")
        last = None
        for line in sys.stdin:
            last = speak(server, voice, line.strip()) or last
        if last:
            last.exception()                   # waits for the last one, so for all before it


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
