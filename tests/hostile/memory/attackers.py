"""Processes that attack, each in its own way, until they are told to leave."""

import multiprocessing
import time

#: Seconds until one is through that was told to begin, or to leave.
PATIENCE = 10.0


class Attackers:
    """Once the `with` begins they have all their connections, and after it none."""

    def __init__(self, stage, attacks):
        context = multiprocessing.get_context("fork")
        self._begin, self._attackers = context.Event(), []
        for attack in attacks:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=self._attack, args=(stage, attack, sender), daemon=True)
            process.start()
            sender.close()
            self._attackers.append((process, receiver))
        #: What each of them has.
        self.notes = []

    def _attack(self, stage, attack, said):
        connections = attack.open(stage)
        said.send(f"{len(connections)}/{attack.connections} {attack.name}")
        self._begin.wait()
        attack.begin(connections)
        said.send("done")
        # Its connections are held until it is ended.
        time.sleep(3600)

    def __enter__(self):
        self.notes = [receiver.recv() for _, receiver in self._attackers]
        return self

    def __exit__(self, *_):
        for process, _ in self._attackers:
            process.kill()
        for process, _ in self._attackers:
            process.join()

    def begin(self):
        """Has all of them do what they came for, and waits until it is done, or takes long."""
        self._begin.set()
        deadline = time.monotonic() + PATIENCE
        for _, receiver in self._attackers:
            receiver.poll(max(0, deadline - time.monotonic()))
