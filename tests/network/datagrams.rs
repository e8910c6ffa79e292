//! Datagram sockets of a session without `udp:` rules.

use std::net::UdpSocket;
use std::process::Command;

use cavra_tests::{Stage, User, Verdict, places};

use crate::dns::Dns;
use crate::lookups::pack;

/// Each way to send, against a socket outside; natively most arrive, in the session none.
pub fn a_datagram_socket_can_send_nothing(user: User) -> Verdict {
    let stage = Stage::new(user)?;
    let program = stage.at("bin/datagrams");
    let source = places::repository().join("tests/programs/datagrams.c");
    let built = Command::new("cc")
        .args(["-O1", "-w", "-D_GNU_SOURCE", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    assert!(built.unwrap().success());
    stage.own(&program);
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let port = receiver.local_addr().unwrap().port().to_string();
    let arrived = || {
        let mut bytes = [0; 64];
        std::iter::from_fn(|| receiver.recv(&mut bytes).ok()).count()
    };
    let native = stage.native([program.as_os_str(), port.as_ref()]);
    assert_eq!(native.code(), Some(0));
    assert!(arrived() > 20, "the control sent nothing");
    let dns = Dns::serve(&[]);
    let outcome = stage
        .session()
        .pack(&pack(&dns, 1))
        .run([program.as_os_str(), port.as_ref()])?;
    assert_eq!(outcome.code(), Some(0), "{}", outcome.finished.stderr);
    assert_eq!(arrived(), 0, "{}", outcome.finished.stdout);
    Ok(())
}

/// The kernel reports memberships to the network, whatever the socket may send.
pub fn no_group_is_joined(user: User) -> Verdict {
    let (stage, dns) = (Stage::new(user)?, Dns::serve(&[]));
    let script = "
import socket
for family, level, option, group in (
    (socket.AF_INET, 0, 35, socket.inet_aton('239.1.2.3') + bytes(4)),
    (socket.AF_INET, 0, 39, socket.inet_aton('232.1.2.3') + bytes(4) + socket.inet_aton('192.0.2.1')),
    (socket.AF_INET6, 41, 20, socket.inet_pton(socket.AF_INET6, 'ff15::99') + bytes(4)),
    (socket.AF_INET, 0, 42, bytes(8) + bytes([2, 0, 0, 0]) + socket.inet_aton('239.1.2.3') + bytes(120)),
):
    try: socket.socket(family, socket.SOCK_DGRAM).setsockopt(level, option, group); print('LEAK')
    except OSError as e: print(e.errno)
";
    stage.write("ws/join.py", script);
    let outcome = stage.session().pack(&pack(&dns, 1)).run(["python3", "join.py"])?;
    assert_eq!(outcome.finished.stdout, "1\n1\n1\n1\n", "{}", outcome.finished.stderr);
    Ok(())
}
