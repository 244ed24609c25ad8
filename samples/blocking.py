"""No class at all: a plain script that waits, sends and reads.

Run it with ``python samples/blocking.py`` and start MMDAgent-EX within a minute. The script sets
a timer of one second in MMDAgent-EX, waits until it has run out, then prints every line
that comes until MMDAgent-EX is closed.
"""

from mmdagent_remote import Server

if __name__ == "__main__":
    with Server(port=9001) as server:      # listens on entry, closes everything on exit
        agent = server.accept(timeout=60)  # blocks until MMDAgent-EX connects
        agent.write_line("TIMER_START|t|1")
        while agent.read_line(timeout=10) != "TIMER_EVENT_STOP|t":
            pass
        for line in agent.lines():         # ends quietly when the agent leaves
            print(line)
