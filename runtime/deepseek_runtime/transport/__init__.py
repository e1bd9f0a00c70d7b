"""Messages between members over ZeroMQ: one Post a member, no torch.

wire.py     frames and messages as bytes, strict when reading
chunks.py   a message cut into chunks and put together again
credits.py  how much may be under way
link.py     one connection with one peer, pure: queue, lanes, sequence numbers, restart after a cut
sockets.py  the Post: the sockets around the links
dialled.py  one dialled peer: socket, greeting, reconnect
curve.py    keys of a job, and who is let in
"""

from deepseek_runtime.transport.curve import Keys, KeysError, load_keys, make_job_keys
from deepseek_runtime.transport.sockets import Post
from deepseek_runtime.transport.wire import Message, WireError

__all__ = ["Keys", "KeysError", "Message", "Post", "WireError", "load_keys", "make_job_keys"]
