"""Speak through the avatar: it says what the microphone hears, with lip-sync.

Run it with ``python samples/microphone.py``, and start MMDAgent-EX with a model "0". It needs
``pip install sounddevice``, and on Linux PortAudio (``apt install libportaudio2``).
``--list`` shows the devices, ``--device NUMBER`` takes one that is not the default. Ctrl-C ends it.
"""

import argparse
import queue
import sys

from mmdagent_remote import ConnectionClosed, Server

MODEL = "0"
RATE, BLOCK = 16000, 640                       # 40 ms, as much as MMDAgent-EX gets at a time


def portaudio():
    try:
        import sounddevice  # type: ignore
    except ImportError:
        sys.exit('The microphone needs: pip install sounddevice')
    except OSError as error:                   # the library is there, PortAudio itself is not
        sys.exit(f"There is no PortAudio here ({error}); on Linux: apt install libportaudio2")
    return sounddevice


def microphone(sounddevice, device):
    """Yields what is heard, piece by piece, without end."""
    heard: queue.Queue[bytes] = queue.Queue(maxsize=50)   # two seconds, if nothing takes them

    def take(data, frames, time, status):      # runs in a PortAudio thread, which must not block
        if not heard.full():
            heard.put_nowait(bytes(data))
    with sounddevice.RawInputStream(samplerate=RATE, channels=1, dtype="int16", blocksize=BLOCK,
                                    device=device, callback=take):
        while True:
            yield heard.get(timeout=5)


def main():
    parser = argparse.ArgumentParser(description="Speak through the avatar.")
    parser.add_argument("--device", type=int)
    parser.add_argument("--list", action="store_true", help="show the devices")
    options = parser.parse_args()
    sounddevice = portaudio()
    if options.list:
        print(sounddevice.query_devices() or "There is no sound device.")
        return
    try:
        sounddevice.check_input_settings(device=options.device, samplerate=RATE, channels=1,
                                         dtype="int16")
    except (sounddevice.PortAudioError, ValueError) as error:
        sys.exit(f"There is no microphone that can be used: {error}")
    with Server(port=9001) as server:
        print(server.start_text(), file=sys.stderr)
        while True:                            # MMDAgent-EX may leave and come back
            with server.accept() as agent:
                print("MMDAgent-EX is connected. Speak.")
                try:
                    agent.speak_audio(MODEL, microphone(sounddevice, options.device), live=True,
                                      lead=0.0).result()
                except ConnectionClosed:
                    print("MMDAgent-EX has left.")
                except queue.Empty:
                    sys.exit("The microphone has fallen silent.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
