"""A small TCP proxy that can fall silent: what it got is kept back, and nobody is told."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cuttable:
    """Leads to a port of this machine; `cut` makes it a black hole until `heal`."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._open = threading.Event()
        self._open.set()
        self._ending = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._ending = True
        self.heal()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._ending:
            try:
                near, _ = self._server.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._serve, args=[near], daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        self._open.wait()
        with near:
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port), timeout=10)
            except OSError:
                return  # who dialled finds it closed, as if nothing listened
            with far:
                self._pass_on(near, far)

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        others = {near: far, far: near}
        while not self._ending:
            readable, _, _ = select.select([near, far], [], [], 0.2)
            for source in readable:
                try:
                    data = source.recv(65536)
                    self._open.wait()
                    if not data:
                        return
                    others[source].sendall(data)
                except OSError:
                    return


@contextmanager
def cuttable(target_port: int) -> Iterator[Cuttable]:
    """Give a proxy before the port."""
    proxy = Cuttable(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
