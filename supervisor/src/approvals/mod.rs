//! Held requests and the control socket.
